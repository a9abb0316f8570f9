"""Finds the threshold over the scores of all elements that gives MACs nearest to the requested fraction."""

from collections.abc import Callable, Mapping
from math import ceil

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from benchmark.errors import BudgetError
from methods.pruning.architecture import Architecture
from methods.pruning.macs import count_macs, element_macs

ROUNDING = 1e-6
"""Tolerance below the smallest share: budgets computed from it have rounding errors (fp32, order of sums)."""


def keep_best(
    unet: UNet2DConditionModel, scores: Mapping[str, Tensor], macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """Return a smaller dense copy of `unet` that keeps the highest-scoring elements, and its architecture.

    The highest-scoring element of each gate is always kept.

    Args:
        unet: the base.
        scores: scores (width,) of the elements of each gate, by module name.
        macs: fraction of the base's MACs to keep, above 0 and at most 1, at the given latent size and text length.
        latent_size: height and width of the latent.
        text_length: number of tokens of the text states.

    Raises:
        BudgetError: `macs` is not a fraction, or is below the smallest reachable one, which the message states.
    """
    costs = element_macs(unet, latent_size, text_length)
    base = count_macs(unet, latent_size, text_length)

    def kept_above(threshold: float) -> dict[str, Tensor]:
        return {name: (score >= threshold) | _is_highest(score) for name, score in scores.items()}

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
        raise BudgetError(f"The MACs must be a fraction of the base's MACs, above 0 and at most 1, not {macs:g}.")


def check_reach(macs: float, least: float, how: str) -> None:
    """Raise `BudgetError` if `macs` is below `least`.

    The message states the smallest share, rounded up to 0.1 % so that the user can request it.

    Args:
        macs: requested fraction of the base's MACs.
        least: smallest fraction that can be reached.
        how: how MACs are reduced, for the error message.
    """
    if macs < least - ROUNDING:
        reachable = ceil(1000 * (least - ROUNDING)) / 1000
        raise BudgetError(f"{macs:.1%} of MACs cannot be reached by {how}: request at least {reachable:.1%}.")


def threshold_for(macs: float, scores: Tensor, fraction: Callable[[float], float], how: str) -> float:
    """Return the threshold (one of the scores, or infinity) that keeps the fraction of MACs nearest to `macs`.

    Args:
        macs: fraction of the base's MACs to keep, above 0 and at most 1.
        scores: candidates for the threshold.
        fraction: returns the fraction of MACs that a threshold keeps; must not increase with the threshold.
        how: how MACs are reduced, for the error message.

    Raises:
        BudgetError: `macs` is not a fraction, or is below the fraction that an infinite threshold keeps.
    """
    check_fraction(macs)
    check_reach(macs, fraction(float("inf")), how)
    return nearest_threshold(macs, scores, fraction)


def nearest_threshold(macs: float, scores: Tensor, fraction: Callable[[float], float]) -> float:
    """Return the score, or infinity, whose `fraction` is nearest to `macs`, even if `macs` cannot be reached."""
    candidates: list[float] = [*scores.unique().tolist(), float("inf")]
    low, high = 0, len(candidates) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fraction(candidates[middle]) >= macs else (low, middle)
    return min(candidates[low], candidates[high], key=lambda threshold: abs(fraction(threshold) - macs))


def _is_highest(score: Tensor) -> Tensor:
    return torch.arange(len(score)) == score.argmax()
