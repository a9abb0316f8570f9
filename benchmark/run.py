"""`bench run`, told in one function: prune, train, sample, look, score, record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import paths, provenance, registry
from benchmark.console import Progress
from benchmark.errors import UsageError
from benchmark.request import Outcome, RunRequest, parse_budget

if TYPE_CHECKING:
    from benchmark.models import Model, Plan
    from benchmark.records import Record
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
    from benchmark import models
    from benchmark.report.gallery import hang, name_of
    from benchmark.report.run_sheet import write_run_sheet

    home = paths.prepare(request.runs, DISK_NEEDED)
    bench = workbench_for(request, home, progress)
    concept = bench.testbed.concept(request.targets)
    plain = replace(request, method="distilled", preset="default", overrides={}, seed=REFERENCE_SEED)
    reference = models.fitted(bench, plan_of(bench, plain, concept))
    rows = [models.base(bench), reference]
    model = models.fitted(bench, plan_of(bench, request, concept))
    if model.identity != reference.identity:
        rows.append(model)

    for row in reversed(rows):
        row.ledger()  # trains what is not there yet: a budget that cannot be met is refused before a picture is made

    first: Suite = registry.load("suites", request.suite)()
    suites = [first, *(registry.load("suites", name)() for name in first.brings if not request.alone)]
    records = []
    for suite in suites:
        seen = [_look(bench, row, suite, concept) for row in rows]
        for row, own in zip(rows, seen, strict=True):
            records.append(_score(bench, request, row, suite, concept, own, seen[1], seen[0], home))
    sheet = write_run_sheet(bench, rows, first, concept, home)
    images = home / "images" / name_of(rows[-1])
    for suite in suites:
        hang(bench, rows[-1], bench.testbed.prompts(suite.name, concept), images / suite.name)
    return Outcome(records, {"images": images, "contact sheet": sheet, "records": paths.records_folder(home)})


def _quiet_libraries() -> None:
    """Progress is shown once, by us; loading our own small files needs no bars of its own."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def workbench_for(request: RunRequest, home: Path, progress: Progress) -> Workbench:
    import torch

    from benchmark.store import Store
    from benchmark.workbench import Workbench

    _quiet_libraries()
    name = ("cuda" if torch.cuda.is_available() else "cpu") if request.device == "auto" else request.device
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"--device {name} cannot be used here ({str(error).splitlines()[0]}): try --device cpu."
        ) from error
    with progress.stage(f"load testbed {request.testbed}", 1, "testbed") as stage:
        testbed = registry.load("testbeds", request.testbed)(device=str(device))
        stage.advance()
    return Workbench(testbed, Store(home, testbed.shipped), progress, device)


def plan_of(bench: Workbench, request: RunRequest, concept: Concept) -> Plan:
    """What is to be trained."""
    from benchmark.models import Plan, Pruned
    from methods.base import configure

    method = configure(registry.load("methods", request.method), request.preset, **request.overrides)
    figure = parse_budget(request.budget)
    flops: float | None = bench.testbed.default_flops
    iterations: int | None = None
    if figure is not None:
        flops, iterations = (figure.amount, None) if figure.unit == "flops" else (None, int(figure.amount))
    return Plan(
        method=method,
        name=request.method,
        preset=request.preset,
        overrides=request.overrides,
        pruned=Pruned(request.pruning, 1.0 if request.pruning == "none" else request.macs),
        concept=concept,
        data=request.data,
        flops=flops,
        iterations=iterations,
        default_budget=flops == bench.testbed.default_flops,
        seed=request.seed,
    )


def _look(bench: Workbench, model: Model, suite: Suite, concept: Concept) -> Any:
    from benchmark.generate import features

    prompts = bench.testbed.prompts(suite.name, concept)
    return features(bench, model, prompts, suite.encoders, suite.name)


def _score(
    bench: Workbench,
    request: RunRequest,
    model: Model,
    suite: Suite,
    concept: Concept,
    own: Any,
    reference: Any,
    base: Any,
    home: Path,
) -> Record:
    from benchmark.records import Record, scores_table, write_record
    from benchmark.report.gallery import name_of
    from benchmark.suites import Evidence

    prompts = bench.testbed.prompts(suite.name, concept)
    scores = suite.score(Evidence(bench.testbed, bench.store, concept, prompts, own, reference, base))
    record = Record(
        label=model.label,
        testbed=request.testbed,
        suite=suite.name,
        concept=concept.identity(),
        sampler=bench.testbed.sampler.model_dump(mode="json"),
        reference="distilled",
        cells=scores.cells,
        ledger=model.ledger(),
        made=provenance.collect(),
        images=f"images/{name_of(model)}/{suite.name}",
        **model.facts,
    )
    table = scores_table(
        [p.id for p in prompts],
        [p.part for p in prompts],
        [p.target for p in prompts],
        [p.seed for p in prompts],
        scores.columns,
    )
    return write_record(paths.records_folder(home), record, table)
