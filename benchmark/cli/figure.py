"""`bench figure`: draw a figure from the records of many runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import Records, Runs, Testbed, check_plugin, records_home, refuse_unread, shown_suite
from benchmark.errors import UsageError
from benchmark.registry import home_of
from benchmark.store import outputs
from benchmark.store.paths import home

FIGURES = ("tradeoff", "losses", "7")
PICTURES = (".png", ".svg", ".pdf", ".svgz", ".eps", ".ps", "")
"""Endings of pictures that can be written; without one it is a PNG."""


def figure(
    ctx: typer.Context,
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
    """Draw a figure from records, and write its numbers as CSV.

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
    from benchmark.figures import explicit, losses, tradeoff
    from benchmark.tables.columns import EXPLICIT
    from benchmark.tables.select import gather, of_definition
    from benchmark.tables.table1_styles import table
    from benchmark.testbeds.resolve import sampling_of

    if kind not in FIGURES:
        raise UsageError(f"Unknown figure '{kind}'. Available: {', '.join(FIGURES)}.")
    if kind == "7":
        refuse_unread(ctx, {"all_": "--all"}, "figure 7 is of the default budget and pruning")
    sampling = sampling_of(testbed)
    made_on, testbed = testbed, check_plugin("testbeds", testbed)
    suite = suite or ("i2p" if kind == "7" else "artists")
    path = outputs.check_file(out or (runs or home()) / f"{kind}.png", suffixes=PICTURES, beside=".csv")
    entries = of_definition(gather(testbed, records_home(runs, records), records or []), testbed, sampling)
    suite_option, suite = suite, shown_suite(suite, (record for record, _ in entries))
    _check_suite(kind, suite, EXPLICIT)
    if kind == "7":
        written_paths = explicit.write(entries, testbed, suite, path, made_on)
    else:
        written_paths = {"tradeoff": tradeoff, "losses": losses}[kind].write(  # type: ignore[attr-defined]
            table(entries, testbed, suite, long=True, everything=all_, made_on=made_on, suite_option=suite_option), path
        )
    for written_path in written_paths:
        print(written_path)


def _check_suite(kind: str, suite: str, explicit_suites: Sequence[str]) -> None:
    """UsageError for a suite that the figure cannot be drawn of. Of a plug-in's suite its records decide, except for
    figure 7."""
    if kind == "7" and suite not in explicit_suites:
        raise UsageError(
            f"Figure 7 is of {', '.join(explicit_suites[:-1])} or {explicit_suites[-1]}: --suite {suite} has nothing "
            "explicit to count."
        )
    if kind == "tradeoff" and suite != "artists" and home_of("suites", suite) == "benchmark":
        raise UsageError(f"Figure tradeoff is of artists: --suite {suite} has no style of targets; leave --suite out.")
