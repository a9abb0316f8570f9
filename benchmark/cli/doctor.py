"""`bench doctor`: checks what a testbed needs on this machine, and says how to get what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import Runs, Testbed, check_plugin
from benchmark.errors import PalimpsestError
from benchmark.store.paths import home

MARKS = {"there": "✓", "without": "!", "lacking": "✗"}


def doctor(
    testbed: Testbed = "mini",
    runs: Runs = None,
    online: Annotated[
        bool,
        typer.Option("--online", help="Also check that the Hugging Face Hub offers the models that the testbed names."),
    ] = False,
) -> None:
    """Check whether this machine has everything that a testbed needs.

    Each line is one requirement: ✓ available, ! missing but not needed by every run, ✗ missing and required, with what
    to do about it. The exit code is 1 if a required part is missing.

    \b
    Examples:
      bench doctor --testbed sd21
      bench doctor --testbed my.toml --online
    """
    check_plugin("testbeds", testbed)
    from benchmark.console import Progress
    from benchmark.doctor import examine

    missing_count, runs_folder = 0, runs or home()
    with Progress() as progress:
        for finding in examine(testbed, runs_folder, online, _needed(testbed, runs_folder), progress):
            print(f"{MARKS[finding.state]} {finding.subject.ljust(24)} {finding.message}")
            missing_count += finding.state == "lacking"
    if missing_count:
        raise typer.Exit(1)


def _needed(testbed: str, runs_folder: Path) -> float | None:
    """Return the estimated bytes that the README's run writes; None if the testbed's costs are not known."""
    from benchmark.api.request import RunRequest
    from benchmark.cost import devices
    from benchmark.cost.estimate import Speeds, estimate

    request = RunRequest("bilevel", "artists", testbed=testbed, runs=runs_folder)
    try:
        return estimate(request, Speeds.of_device(devices.SLOWEST)).disk
    except PalimpsestError:
        return None
