"""`bench list`."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import check_plugin, refuse_unread


def show_list(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(help="methods, objectives, suites, testbeds, metrics, prunings or artists.")],
    testbed: Annotated[str, typer.Option(help="Whose artists to list; with testbeds, a file.")] = "mini",
) -> None:
    """Say what there is to choose from, one line each.

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
