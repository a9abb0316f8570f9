"""One threshold over the scores of all elements, set where the network's MACs come nearest to what is asked."""

from collections.abc import Callable, Mapping
from math import ceil

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from benchmark.errors import BudgetError
from methods.pruning.architecture import Architecture
from methods.pruning.macs import count_macs, element_macs

ROUNDING = 1e-6
"""How far below the least share one may be that was reckoned from it: budgets are in fp32, sums in another order."""


def keep_best(
    unet: UNet2DConditionModel, scores: Mapping[str, Tensor], macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """Return a smaller dense copy of `unet` with the best of its widths, and what it kept.

    At least the best element of each gate is kept.

    Args:
        scores: a number for each element (width,) of each gate, by module name.
        macs: fraction of the base's MACs to keep, 0..1, at the given latent size and text length.

    Raises:
        BudgetError: `macs` is not a fraction, or less than cutting inner widths can reach (the least is named).
    """
    costs = element_macs(unet, latent_size, text_length)
    base = count_macs(unet, latent_size, text_length)

    def kept_above(threshold: float) -> dict[str, Tensor]:
        return {name: (score >= threshold) | _strongest(score) for name, score in scores.items()}

    def fraction(threshold: float) -> float:
        masks = kept_above(threshold)
        return 1 - sum(float((~mask).sum()) * costs[name] for name, mask in masks.items()) / base

    where = f"latents {latent_size}x{latent_size}, {text_length} tokens"
    best = threshold_for(macs, torch.cat(list(scores.values())), fraction, f"cutting inner widths ({where})")
    kept = {name: mask.nonzero().flatten().tolist() for name, mask in kept_above(best).items()}
    architecture = Architecture.of(unet, kept)
    return architecture.apply(unet), architecture


def check_fraction(macs: float) -> None:
    """Raise `BudgetError` unless `macs` is above 0 and at most 1."""
    if not 0 < macs <= 1:
        raise BudgetError(f"MACs are asked as a fraction of the base's, above 0 and up to 1, not {macs:g}.")


def check_reach(macs: float, least: float, how: str) -> None:
    """Raise `BudgetError` if `macs` is below `least`, told in tenths of a per cent that can be asked for; `how` says by
    what it cannot be reached."""
    if macs < least - ROUNDING:
        told = ceil(1000 * (least - ROUNDING)) / 1000
        raise BudgetError(f"{macs:.1%} of MACs cannot be reached by {how}: the least is {told:.1%}.")


def threshold_for(macs: float, scores: Tensor, fraction: Callable[[float], float], how: str) -> float:
    """Return the score whose `fraction` of MACs is nearest to `macs`; the fraction falls as the threshold rises.

    Raises:
        BudgetError: `macs` is not a fraction, or below that of an endless threshold; `how` tells by what it fell.
    """
    check_fraction(macs)
    check_reach(macs, fraction(float("inf")), how)
    return nearest_threshold(macs, scores, fraction)


def nearest_threshold(macs: float, scores: Tensor, fraction: Callable[[float], float]) -> float:
    """Return the score (or infinity) whose `fraction` is nearest to `macs`, within reach or not."""
    candidates = [*scores.unique().tolist(), float("inf")]
    low, high = 0, len(candidates) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fraction(candidates[middle]) >= macs else (low, middle)
    return min(candidates[low], candidates[high], key=lambda threshold: abs(fraction(threshold) - macs))


def _strongest(score: Tensor) -> Tensor:
    return torch.arange(len(score)) == score.argmax()
