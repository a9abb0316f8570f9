"""Trains the model that a plan describes, and stores its weights, cost and loss curve."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmark import registry
from benchmark.api.testbed import Workbench
from benchmark.errors import BudgetError, TrainingError
from benchmark.json_types import CurveRow, Identity
from benchmark.records import provenance
from benchmark.records.loss_curve import thinned
from benchmark.registry import short_name

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.model import Model
    from benchmark.models.plan import Plan
    from methods.budget import Budget, Entry, Ledger
    from methods.pruning.architecture import Architecture


def concept_images(bench: Workbench, plan: Plan) -> list[Entry]:
    """Return the cost of the concept images as a list of one entry; empty if the method does not use them.

    Raises:
        BudgetError: if sampling them would use up the method's whole budget.
    """
    if not plan.method.uses_concept_images:
        return []
    cost = bench.testbed.erase_cost(plan.concept)
    if plan.own_flops is not None and plan.own_flops <= cost.flops:
        raise BudgetError(
            f"A budget of {plan.own_flops:.3g} FLOPs does not cover the concept images of '{plan.name}': "
            f"give more than {cost.flops:.3g}."
        )
    return [cost]


def _reporter(bench: Workbench, plan: Plan, series: str) -> Callable[[str, int, int, dict[str, float]], None]:
    """Return a function that shows training progress in one bar, with the first value of each phase (usually its
    loss), and sends all values to the tracker."""

    def report(phase: str, done: int, total: int, values: dict[str, float]) -> None:
        bench.tracker.log(series, {f"{phase}/{name}": value for name, value in values.items()}, done)
        bench.progress.report(f"train {short_name(plan.name)}", done, total, {phase: next(iter(values.values()))})

    return report


def fit(bench: Workbench, plan: Plan, identity: Identity, first: Model | None, series: str) -> None:
    """Train a model; store its weights (in the testbed's precision), its ledger of FLOPs and its loss curve.

    Args:
        bench: testbed, store and device.
        plan: everything that determines the weights.
        identity: the key of the model in the store.
        first: the distilled model that training starts from; None to start from the pruned base.
        series: name of the training in trackers and in lists of unfinished runs.
    """
    from accelerate import PartialState

    from benchmark.store.checkpoints import Checkpointer, write_label
    from methods.base import Context
    from methods.budget import Budget, Ledger
    from methods.kept_names import restricted

    method, store = plan.method, bench.store
    student, architecture = plan.pruned.load(bench)
    method.check(student, plan.concept)
    if first:
        first.train()
        student = first.load()
    images = concept_images(bench, plan)
    materials = bench.testbed.materials(bench, plan.concept, plan.data, method.uses_concept_images)
    materials, concept = restricted(materials, plan.concept, plan.kept_names)
    seconds = materials.erase_seconds
    # The cost of a first stage is charged in full to every model that starts from it.
    first_entries = Ledger.from_json(first.ledger()) if first else ()
    ledger = Ledger(
        [*first_entries, *(replace(entry, wall_seconds=seconds, device_seconds=seconds) for entry in images)]
    )
    flops, iterations = plan.own_flops, plan.own_iterations
    budget = Budget(iterations=iterations) if flops is None else Budget(flops=flops - sum(e.flops for e in images))
    scratch = store.scratch("model", identity)
    if PartialState().is_main_process:
        write_label(scratch, series)
    context = Context(
        Checkpointer(scratch),
        ledger,
        _reporter(bench, plan, series),
        bench.device,
        bench.precision,
        bench.progress.warn,
        landmarks=_milestones(bench, plan, architecture),
        workers=bench.workers,
    )
    shapes = _shapes(student)
    _check_disk(bench, plan, identity, student)
    with bench.progress.doing(f"train {short_name(plan.name)}"):
        unet = method.fit(student.float(), materials, concept, budget, context, plan.seed)
    _check(bench, plan, unet, shapes, ledger)
    state = PartialState()
    if state.is_main_process:
        _save(bench, identity, unet, architecture, ledger, context.curve)
    state.wait_for_everyone()


def _check_disk(bench: Workbench, plan: Plan, identity: Identity, student: UNet2DConditionModel) -> None:
    """Raise StoreError unless the disk has room for the training's checkpoints and its weights."""
    from benchmark.store import disk

    home, parameters = bench.store.home, sum(parameter.numel() for parameter in student.parameters())
    left = disk.checkpoints(parameters) - disk.taken(bench.store.scratch_path("model", identity))
    needs = {home / "scratch": max(0.0, left), home / "artefacts": disk.weights(parameters, bench.testbed.half)}
    disk.check(needs, f"Training {short_name(plan.name)}")


def _shapes(unet: UNet2DConditionModel) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a U-Net's weights and buffers, by name."""
    return {name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()}


def _check(bench: Workbench, plan: Plan, unet: Any, shapes: dict[str, tuple[int, ...]], ledger: Ledger) -> None:
    """Raise TrainingError unless a method returned a U-Net with the given `shapes` and finite weights; warn if it
    exceeded its budget."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    if not isinstance(unet, UNet2DConditionModel):
        raise TrainingError(f"Method '{plan.name}' returned {type(unet).__name__}: its `fit` must return the U-Net.")
    if different := sorted(name for name, _ in shapes.items() ^ _shapes(unet).items()):
        raise TrainingError(
            f"Method '{plan.name}' returned a U-Net whose architecture differs from the one it received "
            f"('{different[0]}' was added, removed or reshaped), so it could not be loaded again: its `fit` may change "
            "only the values of weights, and must merge modules that it adds for training into them."
        )
    as_stored = (lambda weight: weight.half()) if bench.testbed.half else (lambda weight: weight)
    broken = [name for name, weight in unet.named_parameters() if not bool(as_stored(weight).isfinite().all())]
    if broken:
        in_precision = " in the half precision that they are stored in" if bench.testbed.half else ""
        raise TrainingError(
            f"Method '{plan.name}' returned weights that are not finite ('{broken[0]}' and {len(broken) - 1} more)"
            f"{in_precision}: nothing was saved except its last checkpoint."
        )
    spent = ledger.total().flops
    if plan.flops is not None and spent > plan.flops:
        excess = spent / plan.flops - 1
        bench.progress.warn(f"{plan.name} spent {excess:.1%} more than its budget: do not compare its row with others")


def _save(
    bench: Workbench,
    identity: Identity,
    unet: UNet2DConditionModel,
    architecture: Architecture,
    ledger: Ledger,
    curve: Sequence[CurveRow],
) -> None:
    from methods.pruning.architecture import write_pruned

    with bench.store.make("cost", identity) as folder:
        (folder / "ledger.json").write_text(json.dumps(ledger.to_json(), indent=1))
        (folder / "curve.json").write_text(json.dumps(thinned(curve)))
    with bench.store.make("model", identity, provenance.collect()) as folder:
        write_pruned(folder, unet.half() if bench.testbed.half else unet, architecture)


def _milestones(bench: Workbench, plan: Plan, architecture: Architecture) -> dict[Budget, Callable[..., None]]:
    """Return, for each shorter distillation to store during the training, its budget and a function that stores it.

    A distillation passes through the states of all distillations with smaller budgets. The training stores those with
    the other budgets of the request, and those that other installed methods start from.
    """
    from accelerate import PartialState

    from benchmark.models.plan import identity as identity_of
    from benchmark.parallel import agreed
    from methods.budget import Budget, Ledger

    if plan.name != "distilled":
        return {}
    keep_at: dict[Budget, Callable[..., None]] = {}
    stages = [(shorter, identity_of(bench, shorter)) for shorter in (*plan.along, *_first_stages(plan))]
    missing = agreed([bench.store.find("model", identity) is None for _, identity in stages])
    for (shorter, identity), is_missing in zip(stages, missing, strict=True):
        if not is_missing:
            continue

        def keep(student: Any, entries: Any, curve: Any, identity: Identity = identity) -> None:
            if PartialState().is_main_process:
                _save(bench, identity, copy.deepcopy(student), architecture, Ledger(entries), curve)

        keep_at[Budget(flops=shorter.flops, iterations=shorter.iterations)] = keep
    return keep_at


def _first_stages(plan: Plan) -> list[Plan]:
    """Return the shorter distillations that installed methods start from; none if this plan overrides settings."""
    from benchmark.models.plan import first_stage
    from methods.base import configure

    if plan.overrides or plan.flops is None:
        return []
    methods = [registry.load("methods", name) for name in registry.names("methods")]
    stages = [
        first_stage(replace(plan, method=configure(method), flops=plan.whole or plan.flops, along=()))
        for method in methods
        if method.start == "distilled"
    ]
    return [stage for stage in stages if stage.flops is not None and stage.flops < plan.flops]
