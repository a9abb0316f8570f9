"""`bench list`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from benchmark.cli.options import KeptRuns, check_plugin, refuse_unread
from benchmark.store.paths import kept_home


class ListForm(StrEnum):
    """Output format of `bench list runs`."""

    text = "text"
    json = "json"


FILES = {
    "methods": ("my.py:Class", "a method of your own, from a file (docs/plugins.md)"),
    "objectives": ("my.py:Class", "an upper objective of your own, from a file (docs/plugins.md)"),
    "suites": ("my.py:Class or my.toml", "a suite of your own, from a file (docs/plugins.md)"),
    "metrics": ("my.py:Class", "a metric of your own, from a file (docs/plugins.md)"),
    "testbeds": ("my.toml or my.py:Class", "a testbed of your own, from a file (docs/plugins.md)"),
    "prunings": ("my.py:function", "a pruning of your own, from a file (docs/plugins.md)"),
}
"""How each kind is named where it comes from a file."""


def show_list(
    ctx: typer.Context,
    kind: Annotated[
        str,
        typer.Argument(
            help="methods, objectives (losses for forgetting), suites, testbeds, metrics, prunings, artists, or runs "
            "(what the runs folder contains)."
        ),
    ],
    testbed: Annotated[
        str, typer.Option(help="Testbed whose artists to list; with `testbeds`, a testbed's file to list too.")
    ] = "mini",
    runs: KeptRuns = None,
    form: Annotated[ListForm, typer.Option("--format", help="Output format of `bench list runs`.")] = ListForm.text,
) -> None:
    """List methods, suites, testbeds and so on, or stored runs.

    Artists are listed with their role: target (forgotten by default), neighbour (similar in style to a target), tuning
    (used to choose settings), reserved (never used to choose settings) or kept (any other).

    Runs are listed with their id, age, size and the suites of their records, the newest first, and so are unfinished
    trainings. Files that several runs share, such as pruned networks, are listed by kind. `bench clean` deletes runs.

    \b
    Examples:
      bench list methods
      bench list runs
      bench list artists
      bench list testbeds --testbed my.toml
    """
    if kind == "runs":
        from benchmark.cli.list_runs import print_runs

        refuse_unread(ctx, {"testbed": "--testbed"}, "runs of all testbeds are listed")
        print_runs(kept_home(runs), form == ListForm.json)
        return
    from benchmark.cli.list_plugins import KINDS, listing

    refuse_unread(ctx, {"runs": "--runs", "form": "--format"}, "it belongs to `bench list runs`")
    check_plugin("testbeds", testbed)
    if kind in KINDS and kind not in ("artists", "testbeds"):
        refuse_unread(ctx, {"testbed": "--testbed"}, f"{kind} are the same on all testbeds")
    rows = listing(kind, testbed)
    width = max((len(name) for name, _ in rows), default=0)
    for name, line in rows:
        print(f"{name.ljust(width)}  {line}")
    if kind in FILES:  # on standard error: programs read the names from standard output
        print("{}: {}".format(*FILES[kind]), file=sys.stderr)
