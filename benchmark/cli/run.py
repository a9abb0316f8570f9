"""`bench run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark import launcher
from benchmark.cli.options import (
    Alone,
    AsPublished,
    Budget,
    Captions,
    ComparedWith,
    Compiles,
    Device,
    KeptNames,
    Limit,
    Macs,
    Metrics,
    Precision,
    Preset,
    Pruning,
    Reference,
    Reveal,
    Runs,
    Seed,
    Settings,
    Targets,
    Testbed,
    artists_named,
    check_plugin,
    share_of_macs,
)
from benchmark.errors import BudgetError, TrainingError, UsageError
from benchmark.store.paths import home

if TYPE_CHECKING:
    from benchmark.api.request import RunRequest

ALL = "all"  # of the installed methods, or of the prunings in a table


def run(
    method: Annotated[
        str, typer.Option(help="How to retrain and to forget: a name, path/to/file.py:Class, or all of them: all.")
    ],
    suite: Annotated[str, typer.Option(help="What to generate and score: a name, path/to/file.py:Class or my.toml.")],
    testbed: Testbed = "mini",
    pruning: Pruning = "magnitude",
    macs: Macs = None,
    targets: Targets = "",
    seed: Seed = 0,
    preset: Preset = "",
    set_: Settings = None,
    budget: Budget = "default",
    data: Captions = "plain",
    kept_names: KeptNames = "all",
    limit: Limit = None,
    alone: Alone = False,
    metric: Metrics = None,
    runs: Runs = None,
    device: Device = "auto",
    reference: ComparedWith = Reference.distilled,
    reveal: Reveal = False,
    as_published: AsPublished = False,
    precision: Precision = "",
    compiles: Compiles = False,
    yes: Annotated[bool, typer.Option("--yes", help="Begin without asking, however long it will take.")] = False,
) -> None:
    """Train, generate, score and write a record.

    What was made before is reused; an interrupted run goes on where it stopped. Of several budgets, "60it,350it", each
    is scored; a distillation keeps the shorter ones as it passes them.

    \b
    Examples:
      bench run --method bilevel --suite artists
      bench run --method bilevel --suite artists --targets "Katsushika Hokusai,Piet Mondrian"
      bench run --method bilevel --suite artists --set solver=dynamic-barrier --seed 1
      bench run --method distilled --suite coco --macs 0.55 --budget 60it,120it,350it
      bench run --method my/eraser.py:Eraser --suite artists
      bench run --method bilevel --suite my/suite.toml --metric my/metric.py:Metric
      bench run --method all --suite artists
    """
    requests = requests_of(
        method=method, suite=suite, testbed=testbed, pruning=pruning, macs=macs, targets=targets, seed=seed,
        preset=preset, set_=set_, budget=budget, data=data, kept_names=kept_names, limit=limit, runs=runs or home(),
        device=device, alone=alone, metric=metric, reference=reference, reveal=reveal, as_published=as_published,
        precision=precision, compiles=compiles,
    )  # fmt: skip
    from benchmark.console import Progress
    from benchmark.cost.confirm import consent
    from benchmark.pipeline.run import run as run_benchmark

    consent(requests, yes)

    records: dict[str, Any] = {}
    paths: dict[str, Path] = {}
    failed: list[str] = []
    completed = 0
    with Progress() as progress:
        for k, request in enumerate(requests):
            run_name = request.method + (f" for {request.budget}" if requests[0].along else "")
            if len(requests) > 1:
                progress.say(f"method    {run_name} ({k + 1} of {len(requests)})")
            try:
                new_records, paths = run_benchmark(request, progress)
            except (BudgetError, TrainingError) as error:  # only this run's; the next one can still succeed
                if len(requests) == 1:
                    raise
                progress.warn(f"{run_name}: {error}")
                failed.append(run_name)
                continue
            completed += 1
            records |= {record.stem: record for record in new_records}
    if not completed:
        raise TrainingError("No method came to an end, see above.")
    if not launcher.is_first():
        return  # the first process has the records, and its exit code stands for all

    from benchmark.tables.render import print_rich
    from benchmark.tables.select import Found
    from benchmark.tables.table1_styles import table

    name = check_plugin("testbeds", testbed)
    entries: list[Found] = [(record, "local") for record in records.values()]
    print_rich(table(entries, name, check_plugin("suites", suite), everything=True))
    width = max(map(len, paths), default=0)
    for description, path in paths.items():
        print(f"{description.ljust(width)}  {path}")
    if failed:
        raise TrainingError(f"There is no row of {', '.join(failed)}, see above; what the others gave is kept.")


def requests_of(
    *,
    method: str,
    suite: str,
    testbed: str,
    pruning: str,
    macs: float | None,
    targets: str,
    preset: str,
    set_: list[str] | None,
    budget: str,
    reference: str,
    metric: list[str] | None = None,
    **given: Any,
) -> list[RunRequest]:
    """The runs that the options of `bench run` ask for, one a method and budget. PalimpsestError for a wrong option.

    Names are checked before the first import of torch. `given` are fields of the request under the names of options.
    """
    from dataclasses import replace

    from benchmark.api.request import RunRequest, parse_budgets, parse_settings

    for group, name in (("testbeds", testbed), ("suites", suite), ("prunings", pruning)):
        check_plugin(group, name)
    for name in metric or ():
        check_plugin("metrics", name)
    methods = _all_methods(preset, set_) if method == ALL else [method]
    if method != ALL:
        check_plugin("methods", method)
    budgets = parse_budgets(budget)
    request = RunRequest(
        method=methods[0],
        suite=suite,
        testbed=testbed,
        pruning=pruning,
        macs=share_of_macs(pruning, macs),
        preset=preset,
        overrides=parse_settings(set_ or []),
        targets=artists_named(testbed, targets),
        budget=budgets[0],
        reference=str(reference),
        metrics=tuple(metric or ()),
        **given,
    )
    return [
        replace(request, method=name, budget=single_budget, along=tuple(budgets[k + 1 :]))
        for name in methods
        for k, single_budget in enumerate(budgets)
    ]


def _all_methods(preset: str, settings: list[str] | None) -> list[str]:
    """Every installed method but `distilled`, which is part of each run as the reference.

    Of second stages, that with the longest distillation comes first: the shorter ones lie on its way.
    """
    from benchmark import registry
    from methods.base import configure

    if settings or preset:
        raise UsageError("--set and --preset are one method's own: leave them out with --method all.")
    methods = [configure(registry.load("methods", name)) for name in registry.names("methods") if name != "distilled"]
    methods.sort(key=lambda method: method.own_share if method.start == "distilled" else -1.0)
    return [method.name for method in methods]
