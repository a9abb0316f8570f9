"""Costs of training steps and of prunings in U-Net passes, for ledgers and for estimates before a run.

A backward pass counts as two forward passes, and in full even if only some of the weights are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from methods.budget import Budget, Cost

CALIBRATION_IMAGES = {"taylor": 256, "aptp": 9600}
"""Number of calibration pictures: for Taylor pruning over all timesteps, for APTP over all steps of the search."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Quantities that the cost of a method depends on, apart from its own settings."""

    base: int
    """FLOPs of one image's forward pass of the base U-Net."""
    student: int
    """FLOPs of one image's forward pass of the U-Net that is trained."""
    steps: int
    """Steps of the testbed's sampler."""
    calls: int
    """U-Net calls of these steps; PNDM makes one more call than steps."""
    guided: bool
    """Whether the sampler uses classifier-free guidance: two passes a call, with and without the text."""
    kind: str
    """Kind of the concept: "style", "explicit" or "object"."""
    contrast: int
    """Number of prompts in `Materials.contrast`, over all targets, with and without the concept."""


class Step(NamedTuple):
    """One kind of step in a method's cycle."""

    name: str
    cost: Cost
    repeats: int
    batch: int
    """Images that are in memory at the same time."""
    once: bool = False
    """Whether the step is taken exactly once, whatever the budget."""


def lower(batch: int, base: int, student: int) -> Cost:
    """Return the cost of a step of Eq. 8: a forward pass of the teacher, and forward and backward of the student."""
    return Cost(forwards=2 * batch, backwards=batch, flops=batch * (base + 3 * student))


def upper(batch: int, base: int, student: int, answers: int, calls: int) -> Cost:
    """Return the cost of a step of L_CU.

    Args:
        batch: images a step.
        base: FLOPs of a forward pass of the teacher.
        student: FLOPs of a forward pass of the student.
        answers: number of texts under which the teacher predicts.
        calls: passes of the student, per image, that make x_t.
    """
    flops = batch * ((calls + 3) * student + answers * base)
    return Cost(forwards=batch * (calls + answers + 1), backwards=batch, flops=flops)


def upper_with_lower(upper_cost: Cost, lower_cost: Cost, student: int, *, barrier: bool) -> Cost:
    """Return the cost of an upper step that also computes Eq. 8.

    With `barrier`, every backward pass is done twice: once for the two separate gradients, once for the step.
    """
    passes = 2 if barrier else 1
    backwards = upper_cost.backwards + lower_cost.backwards
    flops = upper_cost.flops + lower_cost.flops + (passes - 1) * 2 * student * backwards
    return Cost(forwards=upper_cost.forwards + lower_cost.forwards, backwards=passes * backwards, flops=flops)


def erasing(batch: int, edited: int, frozen: int, calls: int) -> Cost:
    """Return the cost of a step of ESD.

    The edited model denoises in `calls` passes and predicts once more; the frozen model predicts with and without the
    name. `edited` and `frozen` are FLOPs of a forward pass.
    """
    flops = batch * ((calls + 3) * edited + 2 * frozen)
    return Cost(forwards=batch * (calls + 3), backwards=batch, flops=flops)


def looking(images: int, steps: int, guided: bool, student: int) -> Cost:
    """Return the cost of ConceptPrune: the first `steps` U-Net calls of sampling `images` pictures."""
    forwards = images * steps * (2 if guided else 1)
    return Cost(forwards=forwards, backwards=0, flops=forwards * student)


def choosing(pruning: str, base: float) -> float:
    """Return the FLOPs that a pruning spends on choosing what to keep; `base` is a forward pass of the base U-Net.

    Each calibration picture takes a forward and a backward pass, and in APTP's search a forward pass of the teacher as
    well. Gates do not make passes cheaper: they multiply activations that are computed in full.
    """
    return CALIBRATION_IMAGES.get(pruning, 0) * (4 if pruning == "aptp" else 3) * base


def spent(cycle: Sequence[Step], budget: Budget) -> dict[str, int]:
    """Return how many steps of each kind `budget` pays for, by name.

    Raises:
        BudgetError: the budget does not pay for the first step.
    """
    if all(step.once for step in cycle):
        return {step.name: 1 for step in cycle}
    steps = budget.steps([(step.cost, step.repeats) for step in cycle])
    rounds, rest = divmod(steps, sum(step.repeats for step in cycle))
    counts = {}
    for step in cycle:
        counts[step.name] = rounds * step.repeats + min(rest, step.repeats)
        rest -= min(rest, step.repeats)
    return counts
