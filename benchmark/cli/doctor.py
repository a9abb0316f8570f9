"""`bench doctor`: what is there, what is missing, and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import Runs, Testbed, known
from benchmark.store.paths import home

MARKS = {"there": "✓", "without": "!", "lacking": "✗"}


def doctor(
    testbed: Testbed = "mini",
    runs: Runs = None,
    online: Annotated[bool, typer.Option("--online", help="Ask the Hub whether it gives what is named.")] = False,
) -> None:
    """Say what a testbed needs of this machine, a line each. Exit code 1 if it lacks what it cannot do without.

    \b
    Examples:
      bench doctor --testbed sd21
      bench doctor --testbed my.toml --online
    """
    known("testbeds", testbed)
    from benchmark.doctor import examine

    lacking = 0
    for one in examine(testbed, runs or home(), online):
        print(f"{MARKS[one.state]} {one.what.ljust(24)} {one.told}")
        lacking += one.state == "lacking"
    if lacking:
        raise typer.Exit(1)
