"""`bench campaign`."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.options import Runs
from benchmark.errors import UsageError
from benchmark.store.paths import home


def campaign(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="Text file: each line holds the options of one `bench run`, # starts a comment, and {0,1,2} "
            "stands for one run per value."
        ),
    ],
    lanes: Annotated[
        int,
        typer.Option(help="Number of runs that execute in parallel, each with an equal share of the CPU cores.", min=1),
    ] = 1,
    runs: Runs = None,
) -> None:
    """Execute many `bench run` commands that a text file lists.

    A campaign that was interrupted resumes where it stopped, and finished runs are skipped. If a run fails, the error
    is reported, the other runs continue, and the exit code is 1. With several --lanes each run uses fewer threads,
    which changes the last digits of trained weights.

    \b
    Examples:
      bench campaign results/mini/campaign.txt --runs runs --lanes 2
    """
    from benchmark.experiments.campaign import conduct, read_plan

    bench_run: Any = ctx.find_root().command
    plan = read_plan(file, partial(_check, bench_run.commands["run"], ctx.find_root()))
    failed = conduct(plan, runs or home(), lanes)
    if failed:
        raise typer.Exit(1)


_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""click's UsageError, from the click that this version of typer uses."""


def _check(command: Any, ctx: Any, words: list[str]) -> None:
    """Parse the options of one `bench run` as the run will.

    Raises:
        UsageError: the run would refuse them, or they contain an option such as --help that runs nothing.
    """
    from benchmark.cli.run_options import RunOptions

    if idle_words := [word for word in words if word in command.get_help_option_names(ctx)]:
        raise UsageError(f"{idle_words[0]} only prints a help text: leave it out.")
    try:
        with command.make_context("run", list(words), parent=ctx) as run_context:
            if run_context.params["dry_run"]:
                raise UsageError("--dry-run runs nothing: leave it out.")
            own = {field.name: run_context.params[field.name] for field in fields(RunOptions)}
            RunOptions(**{**own, "runs": Path("runs")}).requests()
    except _CLICK_ERROR as error:
        raise UsageError(str(error).rstrip(".") + ".") from error
