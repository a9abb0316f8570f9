"""`bench report`: one HTML page with all results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import LimitShown, Records, Runs, Testbed, check_plugin, records_home
from benchmark.store import paths


def report(
    out: Annotated[Path, typer.Option(help="Folder to write index.html into. An older report in it is replaced.")] = (
        Path("report")
    ),
    testbed: Testbed = "mini",
    all_: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Also show, in the leaderboards, records whose budget, targets, pruning or precision is not the "
            "testbed's default, and those of older versions of a method.",
        ),
    ] = False,
    limit: LimitShown = None,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Do not blur pictures of suites of explicit content.")
    ] = False,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Write all results as one HTML page.

    The page has a leaderboard for each suite, with plots, and a section for each run: settings, scores, losses, cost,
    versions, and the command that repeats the run. Columns can be sorted, and commands are copied by a click. Pictures
    of the runs folder are shown side by side: the same prompts and seeds for all methods, with the best, the median and
    the worst scores. The page is a single file. It opens from disk and loads nothing from the network.

    \b
    Examples:
      bench report
      bench report --records results/mini/records --out mini-report
      bench report --runs other/runs --out other-report
    """
    from benchmark.console import Progress
    from benchmark.report.contents import Contents
    from benchmark.report.page import check_folder, write_report
    from benchmark.tables.select import gather, select_by_sampling
    from benchmark.testbeds.resolve import sampling_of

    check_folder(out)
    sampling = sampling_of(testbed)
    options = ["--testbed", testbed] if testbed != "mini" else []
    options += ["--runs", str(runs)] if runs is not None else []
    for path in records or ():
        options += ["--records", str(path)]
    testbed = check_plugin("testbeds", testbed)
    home = records_home(runs, records)
    entries = [
        (record, source)
        for record, source in select_by_sampling(gather(testbed, home, records or [], limit), testbed, sampling)
        if record.testbed == testbed
    ]
    pictures = (runs or paths.home()) if records else home
    contents = Contents(entries, testbed, pictures, tuple(options), limit, all_, reveal)
    with Progress() as progress:
        path = write_report(contents, out, progress)
    print(path)
