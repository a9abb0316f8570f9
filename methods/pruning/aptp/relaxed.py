"""Gates that are 0 or 1 in the forward pass and differentiable in the backward pass."""

import torch
from torch import Tensor

from methods.pruning.vector import Layout, hardened

TEMPERATURE, BASE = 0.4, 3.0
"""APTP's values: a gate with logit 0 is nearly always open."""


def gumbel_sigmoid(
    logits: Tensor, source: torch.Generator, temperature: float = TEMPERATURE, base: float = BASE
) -> Tensor:
    """Return sigmoid((logit + Gumbel noise + base) / temperature), shaped like `logits`, with new noise from `source`.

    Source: APTP's estimation of gates, after Jang et al. 2017 (arXiv 1611.01144).
    """
    uniform = torch.rand(logits.shape, generator=source).clamp(1e-9, 1 - 1e-7)
    gumbel = -torch.log(-torch.log(uniform)).to(logits.device)
    return torch.sigmoid((logits + gumbel + base) / temperature)


def straight_through(layout: Layout, soft: Tensor) -> Tensor:
    """Return gates (..., length) of 0 and 1 with the gradient of `soft`; each width gate has at least one 1."""
    return hardened(layout, soft).detach() + soft - soft.detach()
