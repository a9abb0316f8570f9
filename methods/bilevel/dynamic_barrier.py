"""Dynamic barrier for simple bilevel optimisation: to first order, an upper step still decreases the lower loss.

Source: Gong, Liu and Liu 2021, "Bi-objective trade-off with dynamic barrier gradient descent".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def multiplier(upper: Tensor, lower: Tensor, parameters: Sequence[nn.Parameter], alpha: float) -> Tensor:
    """Return the multiplier mu of the descent direction d = grad(upper) + mu grad(lower).

    mu is the smallest value >= 0 for which <d, grad(lower)> >= alpha |grad(lower)|^2. A small gradient-descent step
    along d then decreases the lower loss by at least alpha times as much as a step along grad(lower). This holds for
    plain gradient descent, but not for AdamW, which changes the direction. Gradients are averaged over all processes.

    Args:
        upper: scalar loss of the upper level.
        lower: scalar loss of the lower level.
        parameters: the parameters that the upper step trains.
        alpha: required decrease of the lower loss, as a fraction of the decrease by its own gradient step.

    Returns:
        A scalar tensor.
    """
    u, f = (_flat_gradient(loss, parameters) for loss in (upper, lower))
    return (alpha - u @ f / (f @ f).clamp(min=torch.finfo(f.dtype).tiny)).clamp(min=0)


def _flat_gradient(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
    flat = torch.cat([gradient.flatten().float() for gradient in gradients])
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(flat)
        flat /= torch.distributed.get_world_size()
    return flat
