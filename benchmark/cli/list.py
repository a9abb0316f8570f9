"""`bench list`."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import check_plugin, refuse_unread


def show_list(
    ctx: typer.Context,
    kind: Annotated[
        str,
        typer.Argument(
            help="methods, objectives (losses for forgetting), suites, testbeds, metrics, prunings or artists."
        ),
    ],
    testbed: Annotated[str, typer.Option(help="Testbed whose artists to list.")] = "mini",
) -> None:
    """List methods, suites, testbeds, metrics, prunings or artists.

    Artists are listed with their role: target (forgotten by default), neighbour (similar in style to a target), tuning
    (used to choose settings), reserved (never used to choose settings) or kept (any other).

    \b
    Examples:
      bench list methods
      bench list artists
    """
    from benchmark.cli.list_plugins import KINDS, listing

    check_plugin("testbeds", testbed)
    if kind in KINDS and kind != "artists":
        refuse_unread(ctx, {"testbed": "--testbed"}, f"{kind} are the same on all testbeds")
    rows = listing(kind, testbed)
    width = max((len(name) for name, _ in rows), default=0)
    for name, line in rows:
        print(f"{name.ljust(width)}  {line}")
