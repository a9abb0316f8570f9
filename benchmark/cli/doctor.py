"""`bench doctor`: say what a testbed has on this machine, what it lacks, and how to get that."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import Runs, Testbed, check_plugin
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
    check_plugin("testbeds", testbed)
    from benchmark.doctor import examine

    missing_count = 0
    for finding in examine(testbed, runs or home(), online):
        print(f"{MARKS[finding.state]} {finding.subject.ljust(24)} {finding.message}")
        missing_count += finding.state == "lacking"
    if missing_count:
        raise typer.Exit(1)
