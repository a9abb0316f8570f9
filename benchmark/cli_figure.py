"""`bench figure`, `bench page` and `bench campaign`: many runs, and what is seen in them together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli_options import Records, Runs, Testbed, known
from benchmark.errors import UsageError
from benchmark.paths import home

FIGURES = ("tradeoff", "losses", "7")


def figure(
    kind: Annotated[str, typer.Argument(help="tradeoff, losses, or 7 (the paper's).", metavar="KIND")],
    out: Annotated[
        Path | None, typer.Option(help="Picture to write: .png, .svg or .pdf.", show_default="<runs>/<kind>.png")
    ] = None,
    testbed: Testbed = "mini",
    suite: Annotated[str, typer.Option(help="Whose records.", show_default="artists; i2p for figure 7")] = "",
    all_: Annotated[bool, typer.Option("--all", help="Every budget, target set, pruning and older recipe.")] = False,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Draw a figure from the records there are; its numbers lie in a .csv beside it.

    \b
    tradeoff  what forgetting costs: a line a method over its erasing strengths, a star at its default
    losses    both levels, L_ft and L_CU, over U-Net FLOPs
    7         how much explicit content of the base is gone (suite i2p, mma or ring-a-bell)

    \b
    Examples:
      bench run --method esd --suite artists --set rate=2e-4
      bench figure tradeoff
      bench figure tradeoff --records results/mini --out tradeoff.svg
      bench figure losses
      bench figure 7 --suite mma
    """
    from benchmark.report import figure7, losses, tradeoff
    from benchmark.tables import gather, table

    if kind not in FIGURES:
        raise UsageError(f"Unknown figure '{kind}'. Available: {', '.join(FIGURES)}.")
    testbed = known("testbeds", testbed)
    suite = suite or ("i2p" if kind == "7" else "artists")
    known("suites", suite)
    found, path = gather(testbed, runs or home(), records or []), out or (runs or home()) / f"{kind}.png"
    if kind == "7":
        made = figure7.write(found, testbed, suite, path)
    else:
        made = {"tradeoff": tradeoff, "losses": losses}[kind].write(  # type: ignore[attr-defined]
            table(found, testbed, suite, long=True, everything=all_), path
        )
    for each in made:
        print(each)


def page(
    file: Annotated[Path, typer.Argument(help="Markdown page; its tables are replaced.")],
) -> None:
    """Make the tables of a page anew, each by the command that stands above it.

    A block begins with `<!-- bench table ... -->` or `<!-- bench compare ... -->` and ends with `<!-- end -->`.

    \b
    Examples:
      bench page results/mini/README.md
    """
    from benchmark.page import fill

    print(f"{fill(file)} tables filled in {file}")


def campaign(
    file: Annotated[Path, typer.Argument(help="Text file: the options of one `bench run` a line; # starts a comment.")],
    lanes: Annotated[int, typer.Option(help="Runs side by side, each with its share of the cores.", min=1)] = 1,
    runs: Runs = None,
) -> None:
    """Do many runs, one after the other; stopped, it goes on where it was, and what is done is answered at once.

    A run that fails is told, and the others go on; the exit code is then 1. Lanes change the last digits of a training,
    because its sums are made by fewer threads.

    \b
    Examples:
      bench campaign results/mini/campaign.txt --runs runs --lanes 2
    """
    from benchmark.campaign import conduct, read_plan

    failed = conduct(read_plan(file), runs or home(), lanes)
    if failed:
        raise typer.Exit(1)
