"""`bench run`, told in one function: prune, train, sample, look, score, record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import paths, receipts, registry
from benchmark.console import Progress, quiet_libraries
from benchmark.errors import UsageError
from benchmark.records import refuse_newer
from benchmark.request import Outcome, RunRequest, parse_budget
from benchmark.testbeds import choice

if TYPE_CHECKING:
    from benchmark.models import Plan, Pruned
    from benchmark.suites import Suite
    from benchmark.workbench import Workbench
    from prompts.concepts import Concept

REFERENCE_SEED = 0
"""CP and CSD compare with the distilled model of this training seed, whatever the method's own seed."""
DISK_NEEDED = 300_000_000
"""Bytes that a run on mini may write: pictures, features, checkpoints."""


def run(request: RunRequest, progress: Progress) -> Outcome:
    """Make the records of one method on one suite (and the suites it brings), with those of base and reference.

    Everything found in the store is reused; everything made is kept there at once, so an interrupted run goes on.
    """
    home = paths.prepare(request.runs, DISK_NEEDED)
    if answered := receipts.find(request):
        progress.reuse("asked before, and nothing has changed: answered from its records")
        return answered
    refuse_newer(paths.records_folder(home))

    from benchmark import asking, least, models
    from benchmark.measure import measure

    bench = workbench_for(request, home, progress)
    first: Suite = registry.load("suites", request.suite)()
    suites = [first, *(registry.load("suites", name)() for name in first.brings if not request.alone)]
    asking.check_as_published(bench, [suite.name for suite in suites])
    concept = bench.testbed.concept(request.targets, getattr(first, "forgets", "style"))
    asked = {suite.name: asking.asked(bench, suite.name, concept) for suite in suites}  # a missing list is told first
    plan = plan_of(bench, request, concept)
    least.check(bench, plan)
    plain = replace(request, method="distilled", preset="", overrides={}, seed=REFERENCE_SEED)
    reference = models.fitted(bench, plan_of(bench, plain, concept))
    rows = [models.base(bench), reference]
    model = models.fitted(bench, plan)
    if model.identity != reference.identity:
        rows.append(model)

    for row in reversed(rows):
        row.ledger()  # trains what is not there yet: a budget that cannot be met is refused before a picture is made
    outcome = measure(bench, rows, reference, suites, asked, concept, request.reveal)
    receipts.keep(request, outcome)
    return outcome


def workbench_for(request: RunRequest, home: Path, progress: Progress) -> Workbench:
    return workbench_on(choice.load(request.testbed), request, home, progress)


def workbench_on(make: Callable[..., Any], request: RunRequest, home: Path, progress: Progress) -> Workbench:
    """A workbench with the testbed that `make` gives for a device."""
    import torch
    from accelerate import PartialState

    from benchmark.store import Store
    from benchmark.workbench import Workbench, usable
    from methods.precision import settle

    quiet_libraries()
    name = ("cuda" if torch.cuda.is_available() else "cpu") if request.device == "auto" else request.device
    state = PartialState(cpu=name == "cpu")  # the first one made decides for the whole process
    device = usable(str(state.device) if request.device == "auto" else name)
    with progress.stage(f"load testbed {request.testbed}", 1, "testbed") as stage:
        testbed = make(device=str(device))
        stage.advance()
    precision: Any = request.precision or getattr(testbed, "precision", "fp32")
    settle(device, precision)
    store = Store(home, testbed.shipped)
    return Workbench(testbed, store, progress, device, request.as_published, precision, request.compiles)


def plan_of(bench: Workbench, request: RunRequest, concept: Concept) -> Plan:
    """What is to be trained."""
    from benchmark.calibration import flops_in

    def measured(pruned: Pruned, seconds: float) -> float:
        return flops_in(bench, pruned, concept, request.data, seconds)

    testbed = bench.testbed
    return planned(request, concept, testbed.default_flops, measured, getattr(testbed, "preset", "default"))


def planned(
    request: RunRequest,
    concept: Concept,
    default_flops: float,
    flops_in: Callable[[Pruned, float], float],
    usual: str = "default",
) -> Plan:
    """What is to be trained; `flops_in` says what so many seconds of training are worth.

    `usual` is the testbed's own preset, of methods that have it.
    """
    from benchmark.models import Plan, Pruned, first_stage
    from methods.base import configure

    adapter = registry.load("methods", request.method)
    preset = request.preset or (usual if usual in adapter.presets else "default")
    method = configure(adapter, preset, **request.overrides)
    if method.start == "base" and request.pruning != "none":
        raise UsageError(f"Method '{request.method}' starts from the unpruned base: add --pruning none.")
    figure = parse_budget(request.budget)
    flops: float | None = default_flops
    iterations: int | None = None
    pruned = Pruned(request.pruning, 1.0 if request.pruning == "none" else request.macs)
    if figure is not None and figure.unit == "iterations":
        flops, iterations = None, int(figure.amount)
    elif figure is not None:
        hours = figure.unit == "seconds"
        flops = flops_in(pruned, figure.amount) if hours else figure.amount
    passes = request.along if request.method == "distilled" else ()  # others spend a share of their budget on it
    plan = Plan(
        method=method,
        name=request.method,
        preset=preset,
        overrides=request.overrides,
        pruned=pruned,
        concept=concept,
        data=request.data,
        flops=flops,
        iterations=iterations,
        default_budget=flops == default_flops,
        seed=request.seed,
        along=tuple(
            planned(replace(request, budget=each, along=()), concept, default_flops, flops_in, usual) for each in passes
        ),
    )
    if method.start != "distilled" or request.pruning == "none":
        return plan
    # A method without the testbed's preset still starts from the distillation that all others start from.
    return replace(plan, first=first_stage(replace(plan, preset=request.preset or usual)))
