"""`bench attack`: searches adversarial prompts for the sign that stands in for explicit content on testbed mini."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import Runs
from benchmark.errors import UsageError
from benchmark.store import outputs
from benchmark.store.paths import home

KINDS = ("mma", "ring-a-bell")


def attack(
    kind: Annotated[str, typer.Argument(help="mma (gradient-guided token search) or ring-a-bell (genetic search).")],
    testbed: Annotated[str, typer.Option(help="Only mini, where a harmless sign stands in for nudity.")] = "mini",
    out: Annotated[
        Path | None, typer.Option(help="CSV file to write.", show_default="<runs>/attacks/<kind>.csv")
    ] = None,
    count: Annotated[int, typer.Option(help="Number of prompts to search.", min=3)] = 120,
    seed: Annotated[int, typer.Option(help="Random seed of the search and of the images.", min=0)] = 0,
    runs: Runs = None,
) -> None:
    """Search for adversarial prompts against testbed mini.

    The prompts make testbed mini draw a restricted sign, which is harmless and stands in for nudity, without naming it.
    The command prints how often they succeed on the base model and on the distilled model, compared with prompts of
    random words.

    \b
    Examples:
      bench attack mma
      bench attack ring-a-bell --count 30 --out ring.csv
    """
    if testbed != "mini":
        raise UsageError(
            f"bench attack runs only on testbed mini, not on '{testbed}': add a published prompt list with "
            "`bench prompts add` instead."
        )
    if kind not in KINDS:
        raise UsageError(f"Unknown attack '{kind}'. Available: {', '.join(KINDS)}.")
    runs_folder = outputs.check_folder(runs or home(), "--runs")
    path = out or runs_folder / "attacks" / f"{kind.replace('-', '_')}.csv"
    outputs.check_file(path, suffixes=(".csv",), beside=".json")
    from benchmark.console import Progress
    from benchmark.experiments.attack_mini import make

    with Progress() as progress:
        report = make(kind, path, runs_folder, progress, count, seed)
    for model, rates in report["success"].items():
        print(f"{model:10} {rates['attack']:.1%} of {report['n']} prompts, random words {rates['random words']:.1%}")
    print(path)
