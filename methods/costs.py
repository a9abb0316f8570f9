"""What steps and choices cost in U-Net passes: arithmetic alone, for the ledger and for estimates before a run.

A backward pass is charged as two forward ones, and whole even where only some weights move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from methods.budget import Budget, Cost

CALIBRATION_IMAGES = {"taylor": 256, "aptp": 9600}
"""Pictures that prunings look at: Taylor's at all timesteps, those of all steps of a search for experts."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the cost of a method depends on, beside its own settings."""

    base: int
    """FLOPs of one image's forward pass of the base U-Net."""
    student: int
    """The same of the U-Net that is trained."""
    steps: int
    """Steps of the testbed's sampler."""
    calls: int
    """U-Net calls that these take: PNDM makes one more."""
    guided: bool
    """Whether the sampler asks with and without the text."""
    kind: str
    """The concept's: "style", "explicit", "object"."""
    contrast: int
    """Pictures that `Materials.contrast` asks for, of all targets, with the concept and without."""


class Step(NamedTuple):
    """One kind of step in a method's cycle."""

    name: str
    cost: Cost
    repeats: int
    batch: int
    """Images that are in memory together."""
    once: bool = False
    """Done one time, whatever the budget."""


def lower(batch: int, base: int, student: int) -> Cost:
    """Eq. 8: one pass of the teacher; forward and backward of the student."""
    return Cost(forwards=2 * batch, backwards=batch, flops=batch * (base + 3 * student))


def upper(batch: int, base: int, student: int, answers: int, calls: int) -> Cost:
    """L_CU: the student denoises in `calls` passes an image, and the teacher is asked under `answers` texts."""
    flops = batch * ((calls + 3) * student + answers * base)
    return Cost(forwards=batch * (calls + answers + 1), backwards=batch, flops=flops)


def upper_with_lower(one: Cost, other: Cost, student: int, *, barrier: bool) -> Cost:
    """An upper step (`one`) that also looks at Eq. 8 (`other`); a barrier needs both gradients, then the step."""
    again = 2 if barrier else 1
    backwards = one.backwards + other.backwards
    flops = one.flops + other.flops + (again - 1) * 2 * student * backwards
    return Cost(forwards=one.forwards + other.forwards, backwards=again * backwards, flops=flops)


def erasing(batch: int, edited: int, asked: int, calls: int) -> Cost:
    """ESD: the edited model denoises and answers once more, the frozen one is asked with and without the name."""
    flops = batch * ((calls + 3) * edited + 2 * asked)
    return Cost(forwards=batch * (calls + 3), backwards=batch, flops=flops)


def looking(images: int, steps: int, guided: bool, student: int) -> Cost:
    """ConceptPrune: the first `steps` calls of sampling so many pictures."""
    forwards = images * steps * (2 if guided else 1)
    return Cost(forwards=forwards, backwards=0, flops=forwards * student)


def choosing(pruning: str, base: float) -> float:
    """What a pruning spends on what to keep, `base` being a pass of the base U-Net: each picture takes one and its
    backward, and in a search one of the teacher. Gates only weigh what is computed, so that all passes are whole."""
    return CALIBRATION_IMAGES.get(pruning, 0) * (4 if pruning == "aptp" else 3) * base


def spent(cycle: Sequence[Step], budget: Budget) -> dict[str, int]:
    """Steps of each kind that `budget` pays for, by name; BudgetError where it does not pay for the first."""
    if all(step.once for step in cycle):
        return {step.name: 1 for step in cycle}
    steps = budget.steps([(step.cost, step.repeats) for step in cycle])
    rounds, rest = divmod(steps, sum(step.repeats for step in cycle))
    found = {}
    for step in cycle:
        found[step.name] = rounds * step.repeats + min(rest, step.repeats)
        rest -= min(rest, step.repeats)
    return found
