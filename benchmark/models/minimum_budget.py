"""The least budget that a method can be trained with, told before any work: each of its stages must take one step.

Stages share a budget, so that what one of them lacks is less than what must be given. The pruned U-Net is taken to have
the MACs that are asked for; what that leaves open is found out by the training itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.errors import BudgetError

if TYPE_CHECKING:
    from benchmark.api.testbed import Workbench
    from benchmark.models.plan import Plan
    from methods.costs import Terms


SLACK = 0.05
"""How far a pruned U-Net's costs may be from what is reckoned here."""
SEARCHED = range(1, 1000)
"""Iterations among which the least is looked for."""


def check(bench: Workbench, plan: Plan) -> None:
    """BudgetError, naming the least, for a budget that leaves a stage of `plan` without a step.

    Methods that do not say what they spend (`cycle`) are not checked.
    """
    cost = bench.testbed.erase_cost(plan.concept)
    given = _terms(bench, plan, cost.flops // max(1, cost.unet_forwards))
    if plan.method.cycle(given) is None:
        return
    if plan.flops is None:
        _check_iterations(plan, given)
        return
    images = cost.flops if plan.method.uses_concept_images else 0
    need = least(plan, given, images)
    if plan.flops < (1 - SLACK) * need:
        also = ", nor its concept images" if images else ""
        raise BudgetError(
            f"A budget of {plan.flops:.3g} FLOPs does not hold one step of each stage of '{plan.name}'{also}: "
            f"give at least {(1 + SLACK) * need:.3g}."
        )


def least(plan: Plan, given: Terms, images: float) -> float:
    """FLOPs with which each stage takes its first step; `images` are those of the concept images."""
    share = (plan.own_flops or 0.0) / (plan.flops or 1.0)
    stages = [(images + _first_step(plan, given), share)]
    if plan.first:
        stages.append((_first_step(plan.first, given), 1 - share))
    return max((flops / part for flops, part in stages if flops and part), default=0.0)


def _first_step(plan: Plan, given: Terms) -> float:
    """FLOPs of the first step of a method's cycle; 0 where it does not state them."""
    steps = plan.method.cycle(given)
    return steps[0].cost.flops if steps else 0.0


def _check_iterations(plan: Plan, given: Terms) -> None:
    from benchmark.models.plan import first_stage

    if plan.own_iterations or all(step.once for step in plan.method.cycle(given) or ()):
        return
    enough = next((n for n in SEARCHED if (first_stage(replace(plan, iterations=n)).iterations or n) < n), SEARCHED[-1])
    raise BudgetError(
        f"Of {plan.iterations} iterations none is left to '{plan.name}' after distillation: give at least {enough}it."
    )


def _terms(bench: Workbench, plan: Plan, base: int) -> Terms:
    from methods.costs import Terms
    from methods.sampling import make_scheduler

    sampler = bench.testbed.sampler
    return Terms(
        base=base,
        student=round(base * plan.pruned.macs),
        steps=sampler.steps,
        calls=len(make_scheduler(bench.testbed.scheduler, sampler).timesteps),
        guided=sampler.guidance > 1,
        kind=plan.concept.kind,
        contrast=2 * sum(map(len, bench.testbed.contrast(plan.concept).values())),
    )
