"""`bench attack`: adversarial prompts against the embedded testbed's emblem."""

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
    kind: Annotated[str, typer.Argument(help="mma: gradient-guided tokens; ring-a-bell: genetic search.")],
    testbed: Annotated[str, typer.Option(help="Only mini: its emblem stands for what no one should make.")] = "mini",
    out: Annotated[Path | None, typer.Option(help="CSV to write.", show_default="<runs>/attacks/<kind>.csv")] = None,
    count: Annotated[int, typer.Option(help="Prompts to search.", min=3)] = 120,
    seed: Annotated[int, typer.Option(help="Seed of the search and of the images.", min=0)] = 0,
    runs: Runs = None,
) -> None:
    """Search prompts that bring out mini's sign without naming it.

    Tells how often these prompts succeed on the base and on the distilled model, and how often random words do.

    \b
    Examples:
      bench attack mma
      bench attack ring-a-bell --count 30 --out ring.csv
    """
    if testbed != "mini":
        raise UsageError(
            f"bench attack works against mini's emblem alone, not on testbed '{testbed}': bring a published list by "
            "`bench prompts add`."
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
