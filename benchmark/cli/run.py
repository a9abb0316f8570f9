"""`bench run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import launcher
from benchmark.cli.options import check_plugin
from benchmark.cli.run_options import RunOptions, takes_run_options
from benchmark.errors import BudgetError, TrainingError

if TYPE_CHECKING:
    from benchmark.records.record import Record


@takes_run_options
def run(options: RunOptions) -> None:
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
    """
    requests = options.requests()
    from benchmark.console import Progress
    from benchmark.cost.confirm import consent
    from benchmark.pipeline.run import run as run_benchmark

    consent(requests, options.yes)

    records: dict[str, Record] = {}
    paths: dict[str, Path] = {}
    failed: list[str] = []
    completed = 0
    with Progress() as progress:
        for k, request in enumerate(requests):
            run_name = request.method + (f" for {request.budget}" if requests[0].along else "")
            if len(requests) > 1:
                progress.say(f"method    {run_name} ({k + 1} of {len(requests)})")
            try:
                new_records, paths, _ = run_benchmark(request, progress)
            except (BudgetError, TrainingError) as error:  # the next run can still succeed
                if len(requests) == 1:
                    raise
                progress.warn(f"{run_name}: {error}")
                failed.append(run_name)
                continue
            completed += 1
            records |= {record.stem: record for record in new_records}
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
    width = max(map(len, paths), default=0)
    for description, path in paths.items():
        print(f"{description.ljust(width)}  {path}")
    if failed:
        raise TrainingError(f"{', '.join(failed)} failed, as printed above: the table shows the other methods.")
