"""Gates that are 0 or 1 in the forward pass and differentiable in the backward pass."""

import torch
from torch import Tensor

from methods.pruning.vector import Layout, hardened

TEMPERATURE, BASE = 0.4, 3.0
"""Values of APTP. With them, a gate with logit 0 is almost always open."""


def gumbel_sigmoid(
    logits: Tensor, source: torch.Generator, temperature: float = TEMPERATURE, base: float = BASE
) -> Tensor:
    """Return sigmoid((logit + Gumbel noise + base) / temperature), shaped like `logits`.

    Source: APTP's gate estimator, after Jang et al. 2017 (arXiv 1611.01144).

    Args:
        logits: gate logits (..., length).
        source: generator of the noise.
        temperature: lower values push gates closer to 0 and 1.
        base: offset that opens gates.
    """
    uniform = torch.rand(logits.shape, generator=source).clamp(1e-9, 1 - 1e-7)
    gumbel = -torch.log(-torch.log(uniform)).to(logits.device)
    return torch.sigmoid((logits + gumbel + base) / temperature)


def straight_through(layout: Layout, soft: Tensor) -> Tensor:
    """Round gates `soft` (..., length) to 0 and 1, with the gradient of `soft`. Each width gate has at least one 1."""
    return hardened(layout, soft).detach() + soft - soft.detach()
