"""`bench campaign`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.options import Runs
from benchmark.errors import UsageError
from benchmark.store.paths import home


def campaign(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Text file: the options of one `bench run` a line; # starts a comment.")],
    lanes: Annotated[int, typer.Option(help="Runs side by side, each with its share of the cores.", min=1)] = 1,
    runs: Runs = None,
) -> None:
    """Run all `bench run` lines of a file, one after the other.

    A campaign that was stopped goes on where it was; finished runs take no time.
    A run that fails is reported, and the others go on; the exit code is then 1. Lanes change the last digits of a
    training, because its sums are made by fewer threads.

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
"""click's UsageError, whichever click typer has."""


def _check(command: Any, ctx: Any, words: list[str]) -> None:
    """Read the options of one `bench run` as the run will; UsageError for what it would refuse, and for an option such
    as --help that runs nothing."""
    from benchmark.cli.run_options import RunOptions

    if idle_words := [word for word in words if word in command.get_help_option_names(ctx)]:
        raise UsageError(f"{idle_words[0]} runs nothing: leave it out.")
    try:
        with command.make_context("run", list(words), parent=ctx) as run_context:
            RunOptions(**{**run_context.params, "runs": Path("runs")}).requests()
    except _CLICK_ERROR as error:
        raise UsageError(str(error).rstrip(".") + ".") from error
