"""`bench study`: executes an experiment of many runs and plots it."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark import launcher
from benchmark.cli.options import Records, Runs, check_plugin, names, records_home, refuse_unread
from benchmark.errors import UsageError
from benchmark.store import outputs
from benchmark.store.paths import home, records_folder

if TYPE_CHECKING:
    from benchmark.experiments.studies import Point


class Format(StrEnum):
    """Output of `bench study`."""

    figure = "figure"
    markdown = "markdown"


def study(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(help="distillation, init, pruning or search, as described above.", metavar="NAME")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder to write to.", show_default="<runs>/studies")] = None,
    seeds: Annotated[int, typer.Option(help="Number of training seeds; 2 means seeds 0 and 1.", min=1)] = 2,
    prunings: Annotated[str, typer.Option(help='Prunings to compare: "A,B".', show_default="set by the study")] = "",
    lanes: Annotated[
        int,
        typer.Option(help="Number of runs that execute in parallel, each with an equal share of the CPU cores.", min=1),
    ] = 1,
    only_figure: Annotated[
        bool, typer.Option("--only-figure", help="Plot the existing records and run nothing.")
    ] = False,
    format: Annotated[
        Format, typer.Option(help="markdown: print the existing records as a table and run nothing.")
    ] = Format.figure,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Run an experiment of many runs, such as the paper's Figure 4.

    All runs use testbed mini.

    \b
    distillation  the paper's Figure 4: FID over iterations of distillation,
                  one line per loss, at 80 % and 55 % of the base's MACs
    init          the paper's Figure 5: pruned weights against random weights
                  in the same architecture
    pruning       all prunings at 55 % of MACs, before and after distillation;
                  footprint.csv holds the savings in time and memory
    search        a U-Net found by APTP against one pruned by Taylor, whose longer
                  distillation costs as many more FLOPs as APTP's search

    The command writes the plot (NAME.png), its numbers (NAME.csv) and the options of the runs (NAME.txt). An
    interrupted study resumes where it stopped. If a run fails, the error is reported, the others continue, and the exit
    code is 1.

    \b
    Examples:
      bench study init --seeds 3
      bench study distillation --prunings aptp --lanes 2
      bench study pruning --only-figure
      bench study init --format markdown --records results/mini/studies
    """
    from benchmark.experiments.campaign import conduct, conduct_together, read_plan
    from benchmark.experiments.studies import STUDIES, plan, points
    from benchmark.experiments.study_figure import write
    from benchmark.experiments.study_table import markdown
    from benchmark.store.durable import write_bytes
    from benchmark.tables.select import current, gather
    from benchmark.tables.table1_styles import table

    if name not in STUDIES:
        raise UsageError(f"Unknown study '{name}'. Available: {', '.join(STUDIES)}.")
    if format == Format.markdown:
        refuse_unread(ctx, {"out": "--out", "lanes": "--lanes"}, "--format markdown only prints")
    elif only_figure:
        refuse_unread(ctx, {"lanes": "--lanes"}, "--only-figure runs nothing")
    elif records:
        raise UsageError(
            "--records cannot be used while the study runs, because its plot shows the study's own records: add "
            "--only-figure or --format markdown, or leave out --records."
        )
    chosen_prunings = names(prunings, "--prunings")
    for pruning in chosen_prunings:
        check_plugin("prunings", pruning)
        if re.search(r"[\s#{}'\"\\]", pruning):
            raise UsageError(
                f"The study writes its runs to a text file, which cannot contain the path '{pruning}': use a path "
                "without spaces, quotes, # and braces."
            )
    if "none" in chosen_prunings:
        raise UsageError("A study compares prunings at the paper's MACs, and 'none' does not prune: leave it out.")
    chosen_study, runs_folder = STUDIES[name], runs or home()
    if only_figure or format == Format.markdown:
        records_home(runs, records)  # raises if there are no records
    folder = outputs.check_folder(out or runs_folder / "studies")
    suite = "artists" if any(key in ("kept_style", "content_kept") for key, _ in chosen_study.panels) else "coco"

    def current_points() -> list[Point]:
        entries = current(gather("mini", runs_folder, records or [records_folder(runs_folder)]))
        return points(
            chosen_study, table(entries, "mini", suite, long=True, everything=True).rows, seeds, chosen_prunings
        )

    def conduct_runs(planned: list[list[str]], runs: Path) -> list[list[str]]:
        if launcher.processes() == 1:
            return conduct(planned, runs, lanes)
        return conduct_together(planned, runs, partial(_run, ctx.find_root().command))

    if format == Format.markdown or only_figure:
        if not launcher.is_first():
            return
    elif lanes > 1 and launcher.processes() > 1:
        raise UsageError("--lanes starts its own processes, and a launcher has already started several: leave it out.")
    if format == Format.markdown:
        print(markdown(chosen_study, current_points()))
        return
    if only_figure:
        current_points()  # raises if there are no records, before a file is written
    write_bytes(folder / f"{name}.txt", plan(chosen_study, seeds, chosen_prunings).encode())
    failed = [] if only_figure else conduct_runs(read_plan(folder / f"{name}.txt"), runs_folder)
    if not launcher.is_first():
        return  # the first process plots, and its exit code counts
    paths = write(chosen_study, current_points(), folder / f"{name}.png")
    if name == "pruning" and not only_figure:
        paths.append(
            _footprints(
                chosen_prunings or chosen_study.prunings,
                chosen_study.panels[0][1],
                runs_folder,
                folder / "footprint.csv",
            )
        )
    for path in paths:
        print(path)
    if failed:
        raise typer.Exit(1)


def _run(bench: Any, words: list[str]) -> None:
    """Execute `bench run` with these options in this process, without printing its table."""
    with redirect_stdout(io.StringIO()):
        bench.commands["run"].main(words, "bench run", standalone_mode=False)


def _footprints(prunings: tuple[str, ...], macs: float, runs: Path, out: Path) -> Path:
    from benchmark.api.request import Runtime
    from benchmark.console import Progress
    from benchmark.experiments.footprint import footprint, write
    from benchmark.models.pruned import Pruned
    from benchmark.pipeline.setup import workbench_for

    with Progress() as progress:
        bench = workbench_for(Runtime(runs=runs), runs, progress)
        rows = [footprint(bench, Pruned("none", 1.0)), *(footprint(bench, Pruned(name, macs)) for name in prunings)]
    return write(rows, out)
