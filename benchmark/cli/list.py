"""`bench list`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from benchmark.cli.options import check_plugin, refuse_unread

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
            help="methods, objectives (losses for forgetting), suites, testbeds, metrics, prunings or artists."
        ),
    ],
    testbed: Annotated[
        str, typer.Option(help="Testbed whose artists to list; with `testbeds`, a testbed's file to list too.")
    ] = "mini",
) -> None:
    """List methods, suites, testbeds, metrics, prunings or artists.

    Artists are listed with their role: target (forgotten by default), neighbour (similar in style to a target), tuning
    (used to choose settings), reserved (never used to choose settings) or kept (any other).

    \b
    Examples:
      bench list methods
      bench list artists
      bench list testbeds --testbed my.toml
    """
    from benchmark.cli.list_plugins import KINDS, listing

    check_plugin("testbeds", testbed)
    if kind in KINDS and kind not in ("artists", "testbeds"):
        refuse_unread(ctx, {"testbed": "--testbed"}, f"{kind} are the same on all testbeds")
    rows = listing(kind, testbed)
    width = max((len(name) for name, _ in rows), default=0)
    for name, line in rows:
        print(f"{name.ljust(width)}  {line}")
    if kind in FILES:  # on standard error: programs read the names from standard output
        print("{}: {}".format(*FILES[kind]), file=sys.stderr)
