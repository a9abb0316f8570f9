"""Magnitude pruning to a MAC budget: a global threshold over the L2 norms of norm groups, heads and hidden units."""

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
    """Return the weights of a gate's elements as tensors (width, n), with one row per element.

    Args:
        module: the gate.
        read: function that is applied to every weight tensor first, for example to square it.
    """
    tensors: list[Tensor]
    if isinstance(module, ResnetBlock2D):
        tensors = [read(module.conv1.weight), read(module.conv2.weight).transpose(0, 1)]
        if module.time_emb_proj is not None:
            tensors.append(read(module.time_emb_proj.weight))
    elif isinstance(module, Attention):
        tensors = [read(layer.weight) for layer in (module.to_q, module.to_k, module.to_v)]
        tensors.append(read(module.to_out[0].weight).T)
    else:
        # GEGLU has two rows for each hidden unit: its value in the first half of the rows, its gate in the second half.
        tensors = [*read(module.net[0].proj.weight).chunk(2), read(module.net[2].weight).T]
    return [tensor.reshape(width(module), -1) for tensor in tensors]


def relative(scores: Tensor) -> Tensor:
    """Return the scores (width,) of a gate's elements, divided by their mean so that gates can be compared."""
    return scores / scores.mean().clamp_min(torch.finfo(torch.float64).tiny)


def importance(module: Any) -> Tensor:
    """Return the L2 norms (width,) of the weights of a gate's elements, divided by their mean."""
    squares = elements(module, lambda weight: weight.detach().double().square())
    return relative(torch.stack([tensor.sum(1).cpu() for tensor in squares]).sum(0).sqrt())


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """Keeps the norm groups, heads and hidden units with the largest L2 norms, with one threshold for all layers.

    The threshold is found by bisection, so that the MACs are as near to the requested fraction as whole elements allow
    (within 1 % on real networks). The highest-scoring element of each gate is always kept.

    Args:
        unet: the base.
        macs: fraction of the base's MACs to keep, above 0 and at most 1, at the given latent size and text length.
        latent_size: height and width of the latent.
        text_length: number of tokens of the text states.

    Returns:
        A smaller dense copy of `unet`, and its architecture.

    Raises:
        BudgetError: `macs` is not a fraction, or is below the smallest reachable one, which the message states.
    """
    scores = {name: importance(module) for name, module in gates(unet).items()}
    return keep_best(unet, scores, macs, latent_size, text_length)
