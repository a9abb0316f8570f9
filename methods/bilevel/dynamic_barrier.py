"""The dynamic barrier of simple bilevel optimisation (Gong, Liu and Liu 2021, "Bi-objective trade-off with dynamic
barrier gradient descent"): the upper step may not undo the lower level, to first order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def multiplier(upper: Tensor, lower: Tensor, parameters: Sequence[nn.Parameter], alpha: float) -> Tensor:
    """mu >= 0, for a plain gradient step along grad(upper) + mu grad(lower).

    It is the least mu for which that direction d has <d, grad(lower)> >= alpha |grad(lower)|^2, so that a small step
    lowers the lower loss at no less than alpha times the pace of its own gradient. Gradients are those of all processes
    together. The guarantee holds for steps along d itself, not for what AdamW would make of it.
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
