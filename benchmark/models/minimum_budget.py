"""Checks before training that a budget allows at least one training step in every stage of a method.

Stages share one budget in fixed proportions, so the minimum is the total with which every stage can take its first
step. The cost of a step is estimated by assuming that the pruned U-Net has exactly the requested share of MACs.
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
"""Relative tolerance for the difference between a pruned U-Net's real cost and this estimate."""
SEARCHED = range(1, 1000)
"""Budgets in iterations that are tried to find the smallest sufficient one."""


def check(bench: Workbench, plan: Plan) -> None:
    """Check that the budget of `plan` allows one step in each of its stages.

    Methods that do not state the cost of their steps (`Method.cycle` returns None) are not checked.

    Raises:
        BudgetError: if it does not; the message names the smallest sufficient budget.
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
        also = " and its concept images" if images else ""
        raise BudgetError(
            f"A budget of {plan.flops:.3g} FLOPs does not cover one step of each stage of '{plan.name}'{also}: "
            f"give at least {(1 + SLACK) * need:.3g}."
        )


def least(plan: Plan, given: Terms, images: float) -> float:
    """Return the smallest budget in FLOPs with which each stage can take its first step.

    Args:
        plan: the model to train.
        given: sizes that determine the cost of a step.
        images: FLOPs of sampling the concept images; 0 if the method does not use them.
    """
    share = (plan.own_flops or 0.0) / (plan.flops or 1.0)
    stages = [(images + _first_step(plan, given), share)]
    if plan.first:
        stages.append((_first_step(plan.first, given), 1 - share))
    return max((flops / part for flops, part in stages if flops and part), default=0.0)


def _first_step(plan: Plan, given: Terms) -> float:
    """Return the FLOPs of the first step of a method's cycle; 0 if the method does not state them."""
    steps = plan.method.cycle(given)
    return steps[0].cost.flops if steps else 0.0


def _check_iterations(plan: Plan, given: Terms) -> None:
    from benchmark.models.plan import first_stage

    if plan.own_iterations or all(step.once for step in plan.method.cycle(given) or ()):
        return
    enough = next((n for n in SEARCHED if (first_stage(replace(plan, iterations=n)).iterations or n) < n), SEARCHED[-1])
    raise BudgetError(
        f"A budget of {plan.iterations} iterations leaves none to '{plan.name}' after distillation: give at least "
        f"{enough}it."
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
