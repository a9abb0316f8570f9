"""Costs of training steps and prunings in U-Net passes and FLOPs, for cost ledgers and for estimates before a run.

A backward pass counts as two forward passes. It counts in full even if only some of the weights are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from methods.budget import Budget, Cost

CALIBRATION_IMAGES = {"taylor": 256, "aptp": 9600}
"""Number of calibration images: over all timesteps for Taylor pruning, over all steps of the search for APTP."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Quantities other than its settings that the cost of a method depends on."""

    base: int
    """FLOPs of a forward pass of the base U-Net for one image."""
    student: int
    """FLOPs of a forward pass of the trained U-Net for one image."""
    steps: int
    """Number of steps of the testbed's sampler."""
    calls: int
    """Number of U-Net calls in these steps; PNDM makes one more call than steps."""
    guided: bool
    """Whether the sampler uses classifier-free guidance, which takes two passes per call: with and without the text."""
    kind: str
    """Kind of the concept: "style", "explicit" or "object"."""
    contrast: int
    """Number of prompts in `Materials.contrast` over all targets, counting those with and without the concept."""


class Step(NamedTuple):
    """One phase of a method's training cycle: the cost of its step and how often the step is repeated."""

    name: str
    cost: Cost
    repeats: int
    batch: int
    """Number of images in memory at the same time."""
    once: bool = False
    """Whether the step is taken exactly once, independently of the budget."""


def lower(batch: int, base: int, student: int) -> Cost:
    """Return the cost of a distillation step (Eq. 8): forward of the teacher, forward and backward of the student.

    Args:
        batch: images per step.
        base: FLOPs of a forward pass of the teacher for one image.
        student: FLOPs of a forward pass of the student for one image.
    """
    return Cost(forwards=2 * batch, backwards=batch, flops=batch * (base + 3 * student))


def upper(batch: int, base: int, student: int, answers: int, calls: int) -> Cost:
    """Return the cost of a step on the unlearning loss L_CU.

    Args:
        batch: images per step.
        base: FLOPs of a forward pass of the teacher for one image.
        student: FLOPs of a forward pass of the student for one image.
        answers: number of texts for which the teacher predicts.
        calls: forward passes of the student, per image, that are needed to sample x_t.
    """
    flops = batch * ((calls + 3) * student + answers * base)
    return Cost(forwards=batch * (calls + answers + 1), backwards=batch, flops=flops)


def upper_with_lower(upper_cost: Cost, lower_cost: Cost, student: int, *, barrier: bool) -> Cost:
    """Return the cost of an upper step that also computes the distillation loss (Eq. 8).

    Args:
        upper_cost: cost of the upper step alone.
        lower_cost: cost of the lower step.
        student: FLOPs of a forward pass of the student for one image.
        barrier: whether the dynamic barrier is used. It runs every backward pass twice: once for the two separate
            gradients and once for the step.
    """
    passes = 2 if barrier else 1
    backwards = upper_cost.backwards + lower_cost.backwards
    flops = upper_cost.flops + lower_cost.flops + (passes - 1) * 2 * student * backwards
    return Cost(forwards=upper_cost.forwards + lower_cost.forwards, backwards=passes * backwards, flops=flops)


def erasing(batch: int, edited: int, frozen: int, calls: int) -> Cost:
    """Return the cost of a step of ESD.

    Args:
        batch: images per step.
        edited: FLOPs of a forward pass of the edited model for one image. It denoises in `calls` passes, predicts once
            more, and gets a backward pass.
        frozen: FLOPs of a forward pass of the frozen model, which predicts once with and once without the name.
        calls: forward passes of the edited model, per image, that are needed to sample x_t.
    """
    flops = batch * ((calls + 3) * edited + 2 * frozen)
    return Cost(forwards=batch * (calls + 3), backwards=batch, flops=flops)


def conceptprune_cost(images: int, steps: int, guided: bool, student: int) -> Cost:
    """Return the cost of ConceptPrune: the first `steps` U-Net calls of sampling `images` images.

    `guided` states whether the sampler uses classifier-free guidance, which doubles the passes. `student` is the FLOPs
    of a forward pass for one image.
    """
    forwards = images * steps * (2 if guided else 1)
    return Cost(forwards=forwards, backwards=0, flops=forwards * student)


def pruning_flops(pruning: str, base: float) -> float:
    """Return the FLOPs that a pruning spends on choosing what to keep; 0 if it uses no calibration images.

    Each calibration image takes a forward and a backward pass. APTP's search also takes a forward pass of the teacher.
    Gates do not make passes cheaper, because they multiply activations that are computed in full.

    Args:
        pruning: name of the pruning.
        base: FLOPs of a forward pass of the base U-Net for one image.
    """
    return CALIBRATION_IMAGES.get(pruning, 0) * (4 if pruning == "aptp" else 3) * base


def spent(cycle: Sequence[Step], budget: Budget) -> dict[str, int]:
    """Return how many steps of each phase `budget` pays for, by phase name.

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
