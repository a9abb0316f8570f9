"""Rounds a model's weights to few bits, to see whether a concept stays forgotten after quantisation."""

from typing import Literal

import torch
from torch import nn

Weights = Literal["full", "int8", "int4"]
"""How weights are rounded: not at all, or to integers of 8 or 4 bits with one scale per output channel."""
BITS: dict[Weights, int] = {"int8": 8, "int4": 4}


@torch.no_grad()
def round_weights(model: nn.Module, weights: Weights) -> None:
    """Round the weights of every Linear and Conv2d in place; biases, norms and embeddings stay as they are.

    Symmetric round-to-nearest per output channel: w -> s * round(w / s) with s = max|w| / (2^(bits - 1) - 1). The
    weights stay floating point, so the model computes what an integer model with floating-point activations would.
    A channel of zeros stays zero. `weights` "full" changes nothing.
    """
    if weights == "full":
        return
    levels = 2 ** (BITS[weights] - 1) - 1
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            weight = module.weight
            scale = weight.abs().flatten(1).amax(dim=1).reshape(-1, *[1] * (weight.ndim - 1)) / levels
            step = torch.where(scale > 0, scale, torch.ones_like(scale))
            weight.copy_((weight / step).round() * step)
