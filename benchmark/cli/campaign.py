"""`bench campaign`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import Runs
from benchmark.store.paths import home


def campaign(
    file: Annotated[Path, typer.Argument(help="Text file: the options of one `bench run` a line; # starts a comment.")],
    lanes: Annotated[int, typer.Option(help="Runs side by side, each with its share of the cores.", min=1)] = 1,
    runs: Runs = None,
) -> None:
    """Run all `bench run` lines of a file, one after the other.

    Stopped, it goes on where it was, and what is done is answered at once.
    A run that fails is told, and the others go on; the exit code is then 1. Lanes change the last digits of a training,
    because its sums are made by fewer threads.

    \b
    Examples:
      bench campaign results/mini/campaign.txt --runs runs --lanes 2
    """
    from benchmark.experiments.campaign import conduct, read_plan

    failed = conduct(read_plan(file), runs or home(), lanes)
    if failed:
        raise typer.Exit(1)
