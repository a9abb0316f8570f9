"""`bench figure`: plots the records of many runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import (
    LimitShown,
    Records,
    Runs,
    Testbed,
    check_plugin,
    records_home,
    refuse_unread,
)
from benchmark.cli.shown_suite import shown_suite
from benchmark.errors import UsageError
from benchmark.registry import home_of
from benchmark.store import outputs
from benchmark.store.paths import home

FIGURES = ("tradeoff", "losses", "7")
PICTURES = (".png", ".svg", ".pdf", ".svgz", ".eps", ".ps", "")
"""File extensions that can be written; a path without one becomes a PNG."""


def figure(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(help="tradeoff, losses, or 7 (Figure 7 of the paper).", metavar="KIND")],
    out: Annotated[
        Path | None, typer.Option(help="Image file to write: .png, .svg or .pdf.", show_default="<runs>/<kind>.png")
    ] = None,
    testbed: Testbed = "mini",
    suite: Annotated[
        str, typer.Option(help="Suite whose records to plot.", show_default="artists; i2p for figure 7")
    ] = "",
    all_: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Include records with other budgets, targets, prunings or precisions, and of older versions "
            "of a method.",
        ),
    ] = False,
    limit: LimitShown = None,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Plot damage against forgetting, losses, or the paper's Figure 7.

    The plotted numbers are written next to the image, as CSV. Full runs are shown or, with --limit N, the runs with
    this --limit, whose title then says so.

    \b
    tradeoff  what each method damages (FID, other styles, content) against how
              much of the target style is left; a line connects the runs of one
              method with different erasing strengths, and a star marks the
              default strength
    losses    training losses over U-Net FLOPs: L_ft (restoring quality) and
              L_CU (forgetting)
    7         Figure 7 of the paper: how many fewer explicit images than the
              base model each method generates (suite i2p, mma or ring-a-bell)

    \b
    Examples:
      bench run --method esd --suite artists --set rate=2e-4
      bench figure tradeoff
      bench figure tradeoff --records results/mini --out tradeoff.svg
      bench figure losses
      bench figure tradeoff --limit 10
      bench figure 7 --suite mma
    """
    from benchmark.figures import explicit, losses, tradeoff
    from benchmark.tables.columns import EXPLICIT
    from benchmark.tables.select import count_other_limits, gather, select_by_sampling
    from benchmark.tables.table1_styles import table
    from benchmark.testbeds.resolve import sampling_of

    if kind not in FIGURES:
        raise UsageError(f"Unknown figure '{kind}'. Available: {', '.join(FIGURES)}.")
    if kind == "7":
        refuse_unread(ctx, {"all_": "--all"}, "figure 7 shows the default budget and pruning")
    sampling = sampling_of(testbed)
    made_on, testbed = testbed, check_plugin("testbeds", testbed)
    suite = suite or ("i2p" if kind == "7" else "artists")
    default_name = f"{kind}.png" if limit is None else f"{kind}-limit-{limit}.png"
    path = outputs.check_file(out or (runs or home()) / default_name, suffixes=PICTURES, beside=".csv")
    home_folder = records_home(runs, records)
    entries = select_by_sampling(gather(testbed, home_folder, records or [], limit), testbed, sampling)
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
    if not records:
        for other_limit, count in count_other_limits(testbed, suite, home_folder, limit).items():
            records_are = "1 more record is" if count == 1 else f"{count} more records are"
            note = f"{records_are} of runs with --limit {other_limit}: add --limit {other_limit} to plot them."
            print(note, file=sys.stderr)


def _check_suite(kind: str, suite: str, explicit_suites: Sequence[str]) -> None:
    """Raise UsageError if the figure cannot show the suite. A plug-in's suite is checked for figure 7 alone; otherwise
    its records decide."""
    if kind == "7" and suite not in explicit_suites:
        raise UsageError(
            f"Figure 7 shows suite {', '.join(explicit_suites[:-1])} or {explicit_suites[-1]}: --suite {suite} has no "
            "explicit images to count."
        )
    if kind == "tradeoff" and suite != "artists" and home_of("suites", suite) == "benchmark":
        raise UsageError(
            f"Figure tradeoff shows suite artists: --suite {suite} has no target styles; leave --suite out."
        )
