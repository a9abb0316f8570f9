"""`bench figure`: draw a figure from the records of many runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import Records, Runs, Testbed, check_plugin, records_home, refuse_unread, shown_suite
from benchmark.errors import UsageError
from benchmark.store.paths import home

FIGURES = ("tradeoff", "losses", "7")


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
    from benchmark.tables.columns import BUILT_IN, EXPLICIT
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
    entries = of_definition(gather(testbed, records_home(runs, records), records or []), testbed, sampling)
    suite_option, suite = suite, shown_suite(suite, (record for record, _ in entries))
    if kind == "7" and suite not in BUILT_IN:
        raise UsageError(f"Figure 7 is of suites {', '.join(EXPLICIT)}; '{suite}' is none of them.")
    path = out or (runs or home()) / f"{kind}.png"
    if kind == "7":
        written_paths = explicit.write(entries, testbed, suite, path, made_on)
    else:
        written_paths = {"tradeoff": tradeoff, "losses": losses}[kind].write(  # type: ignore[attr-defined]
            table(entries, testbed, suite, long=True, everything=all_, made_on=made_on, suite_option=suite_option), path
        )
    for written_path in written_paths:
        print(written_path)
