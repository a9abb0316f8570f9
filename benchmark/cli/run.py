"""`bench run`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark import launcher
from benchmark.cli.end_of_run import end_of_run
from benchmark.cli.options import check_plugin
from benchmark.cli.run_options import RunOptions, takes_run_options
from benchmark.errors import BudgetError, TrainingError

if TYPE_CHECKING:
    from benchmark.records.record import Record


class Service(StrEnum):
    """Services that runs can be tracked with."""

    tensorboard = "tensorboard"
    wandb = "wandb"
    trackio = "trackio"


@takes_run_options
def run(
    options: RunOptions,
    track: Annotated[
        Service | None,
        typer.Option(
            help="Send losses, learning rates, scores, settings and some pictures to this service. Explicit pictures "
            "are never sent. `uv sync --extra NAME` installs it.",
            show_default="none",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only check the run, and print its steps: what the store has, what is to do, hours and disk. "
            "Nothing is written.",
        ),
    ] = False,
) -> None:
    """Train a method, sample images, score them and write a record.

    Models and images of earlier runs are reused, and an interrupted run resumes where it stopped. With several budgets,
    "60it,350it", every budget is trained and scored; `distilled` trains only once and saves the model at each budget.

    \b
    Examples:
      bench run --method bilevel --suite artists
      bench run --method bilevel --suite artists --targets "Katsushika Hokusai,Piet Mondrian"
      bench run --method bilevel --suite artists --set solver=dynamic-barrier --seed 1
      bench run --method distilled --suite coco --macs 0.55 --budget 60it,120it,350it
      bench run --method my/eraser.py:Eraser --suite artists
      bench run --method bilevel --suite my/suite.toml --metric my/metric.py:Metric
      bench run --method uce --concept boat.toml
      bench run --method all --suite artists
      bench run --method all --suite artists --dry-run
      bench run --method bilevel --suite artists --track tensorboard
    """
    requests = options.requests()
    if track:
        from benchmark.tracking.services import check_installed

        check_installed(track)
    if dry_run:
        from benchmark.cli.dry_run import print_steps

        print_steps(requests)
        return
    from benchmark.console import Progress
    from benchmark.cost.confirm import consent
    from benchmark.pipeline.run import run as run_benchmark
    from benchmark.tracking.service_tracker import tracker_for

    consent(requests, options.yes)

    records: dict[str, Record] = {}
    sentences: list[str] = []
    failed: list[str] = []
    completed = 0
    with Progress() as progress:
        tracker = tracker_for(track, progress) if track and launcher.is_first() else None
        for k, request in enumerate(requests):
            run_name = request.method + (f" for {request.budget}" if requests[0].along else "")
            if len(requests) > 1:
                progress.say(f"method    {run_name} ({k + 1} of {len(requests)})")
            try:
                new_records, paths, _ = run_benchmark(request, progress, tracker)
            except (BudgetError, TrainingError) as error:  # the next run can still succeed
                if len(requests) == 1:
                    raise
                progress.warn(f"{run_name}: {error}")
                failed.append(run_name)
                continue
            completed += 1
            records |= {record.stem: record for record in new_records}
            if launcher.is_first():
                sentences.append(end_of_run(new_records, paths, options.runs))
    if not completed:
        raise TrainingError("All methods failed: the reasons are printed above.")
    if not launcher.is_first():
        return  # the first process has the records, and its exit code counts

    from benchmark.tables.render import print_rich
    from benchmark.tables.select import Found
    from benchmark.tables.table1_styles import table

    name = check_plugin("testbeds", options.testbed)
    entries: list[Found] = [(record, "local") for record in records.values()]
    print_rich(table(entries, name, check_plugin("suites", requests[0].suite), everything=True))
    print("\n".join(sentences))
    if failed:
        raise TrainingError(f"{', '.join(failed)} failed, as printed above: the table shows the other methods.")
