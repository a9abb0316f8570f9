"""Magnitude pruning to a MAC budget: one global threshold over the L2 norms of norm groups, heads and hidden units."""

from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from benchmark.errors import BudgetError
from methods.pruning.architecture import Architecture, gates, width
from methods.pruning.macs import module_macs


def importance(module: Any) -> Tensor:
    """Return the L2 norm of the weights that go with each element of a gate, over their mean (width,)."""
    weights: list[Any]
    if isinstance(module, ResnetBlock2D):
        weights = [module.conv1.weight, module.conv2.weight.transpose(0, 1)]
        if module.time_emb_proj is not None:
            weights.append(module.time_emb_proj.weight)
    elif isinstance(module, Attention):
        weights = [module.to_q.weight, module.to_k.weight, module.to_v.weight, module.to_out[0].weight.T]
    else:
        # GEGLU writes a hidden unit twice: values in the first half of its rows, gates in the second.
        weights = [*module.net[0].proj.weight.chunk(2), module.net[2].weight.T]
    size = width(module)
    squares = [weight.detach().double().square().reshape(size, -1).sum(1).cpu() for weight in weights]
    norms = torch.stack(squares).sum(0).sqrt()
    return norms / norms.mean().clamp_min(torch.finfo(torch.float64).tiny)


def element_macs(unet: UNet2DConditionModel, latent_size: int, text_length: int) -> dict[str, float]:
    """Return the MACs that one element of each gate costs; all gates are linear in the number kept."""
    macs = module_macs(unet, latent_size, text_length)
    costs = {}
    for name, module in gates(unet).items():
        parts = ["conv1", "time_emb_proj", "conv2"] if isinstance(module, ResnetBlock2D) else [""]
        whole = sum(macs.get(f"{name}.{part}".rstrip("."), 0) for part in parts)
        costs[name] = whole / width(module)
    return costs


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """Return a smaller dense copy of `unet` and what it kept.

    The threshold is found by bisection so that MACs come as near to the asked fraction as whole elements allow (within
    1 % on real networks). At least the strongest element of each gate is kept.

    Args:
        macs: fraction of the base's MACs to keep, 0..1, at the given latent size and text length.

    Raises:
        BudgetError: `macs` is not a fraction, or less than cutting inner widths can reach (the least is named).
    """
    if not 0 < macs <= 1:
        raise BudgetError(f"MACs are asked as a fraction of the base's, above 0 and up to 1, not {macs:g}.")
    scores = {name: importance(module) for name, module in gates(unet).items()}
    costs = element_macs(unet, latent_size, text_length)
    base = module_macs(unet, latent_size, text_length)[""]

    def kept_above(threshold: float) -> dict[str, Tensor]:
        return {name: (score >= threshold) | _strongest(score) for name, score in scores.items()}

    def fraction(threshold: float) -> float:
        masks = kept_above(threshold)
        return 1 - sum(float((~mask).sum()) * costs[name] for name, mask in masks.items()) / base

    thresholds = torch.cat(list(scores.values())).unique()
    least = fraction(float("inf"))
    if macs < least:
        raise BudgetError(
            f"{macs:.1%} of MACs cannot be reached by cutting inner widths: the least is {least:.1%} "
            f"(latents {latent_size}x{latent_size}, {text_length} tokens)."
        )
    # The fraction falls as the threshold rises through the distinct scores (and infinity): find where it crosses.
    candidates = [*thresholds.tolist(), float("inf")]
    low, high = 0, len(candidates) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fraction(candidates[middle]) >= macs else (low, middle)
    best = min(candidates[low], candidates[high], key=lambda threshold: abs(fraction(threshold) - macs))
    kept = {name: mask.nonzero().flatten().tolist() for name, mask in kept_above(best).items()}
    architecture = Architecture.of(unet, kept)
    return architecture.apply(unet), architecture


def _strongest(score: Tensor) -> Tensor:
    return torch.arange(len(score)) == score.argmax()
