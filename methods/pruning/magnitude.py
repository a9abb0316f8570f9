"""Magnitude pruning to a MAC budget: one global threshold over the L2 norms of norm groups, heads and hidden units."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from methods.pruning.architecture import Architecture, gates, width
from methods.pruning.threshold import keep_best


def elements(module: Any, read: Callable[[Any], Tensor]) -> list[Tensor]:
    """Return what `read` makes of the weights that go with each element of a gate: (width, weights of one) each."""
    tensors: list[Tensor]
    if isinstance(module, ResnetBlock2D):
        tensors = [read(module.conv1.weight), read(module.conv2.weight).transpose(0, 1)]
        if module.time_emb_proj is not None:
            tensors.append(read(module.time_emb_proj.weight))
    elif isinstance(module, Attention):
        tensors = [read(layer.weight) for layer in (module.to_q, module.to_k, module.to_v)]
        tensors.append(read(module.to_out[0].weight).T)
    else:
        # GEGLU writes a hidden unit twice: values in the first half of its rows, gates in the second.
        tensors = [*read(module.net[0].proj.weight).chunk(2), read(module.net[2].weight).T]
    return [tensor.reshape(width(module), -1) for tensor in tensors]


def relative(scores: Tensor) -> Tensor:
    """Return the scores (width,) of a gate's elements over their mean, so that gates can be compared."""
    return scores / scores.mean().clamp_min(torch.finfo(torch.float64).tiny)


def importance(module: Any) -> Tensor:
    """Return the L2 norm of the weights that go with each element of a gate, over their mean (width,)."""
    found = elements(module, lambda weight: weight.detach().double().square())
    return relative(torch.stack([squares.sum(1).cpu() for squares in found]).sum(0).sqrt())


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """Norm groups, heads and hidden units of the largest weights stay (L2 norms, one threshold for all).

    Return a smaller dense copy of `unet` and what it kept.

    The threshold is found by bisection so that MACs come as near to the asked fraction as whole elements allow (within
    1 % on real networks). At least the strongest element of each gate is kept.

    Args:
        macs: fraction of the base's MACs to keep, 0..1, at the given latent size and text length.

    Raises:
        BudgetError: `macs` is not a fraction, or less than cutting inner widths can reach (the least is named).
    """
    scores = {name: importance(module) for name, module in gates(unet).items()}
    return keep_best(unet, scores, macs, latent_size, text_length)
