"""`bench prompts`: public prompt lists that are not shipped: which there are, whether a file is one, and keeping it.

No command prints a prompt.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.checked_command import CheckedCommand
from benchmark.cli.options import KeptRuns, Runs, check_plugin
from benchmark.errors import UsageError
from benchmark.store.paths import home, kept_home

if TYPE_CHECKING:
    from prompts.public import PublicList, Report


SHOWN = 20  # errors, or warnings, of one file

prompts_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, add_completion=False)

Name = Annotated[str, typer.Argument(help="Which list; see `bench prompts list`.")]
File = Annotated[Path, typer.Argument(help="Where you have it.")]


@prompts_app.callback()
def prompts() -> None:
    """Check and add public prompt lists, which are not shipped."""


@prompts_app.command("list", cls=CheckedCommand)
def show_list(runs: KeptRuns = None) -> None:
    """Say which public lists there are, and which you have added.

    \b
    Example:
      bench prompts list
    """
    from benchmark.suites.prompt_lists import state
    from prompts.sources import SOURCES

    runs_folder = kept_home(runs)
    rows = [
        (
            source.name,
            str(source.rows),
            "gated" if source.gated else "open",
            source.licence,
            state(runs_folder, source.name),
            source.summary,
        )
        for source in SOURCES
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, count, *other_cells in rows:
        cells = [name.ljust(widths[0]), count.rjust(widths[1]), *map(str.ljust, other_cells, widths[2:])]
        print("  ".join(cells).rstrip())


@prompts_app.command(cls=CheckedCommand)
def check(name: Name, file: File) -> None:
    """Say what is wrong with a file, row by row.

    It changes nothing, and its exit code is 2 if the file cannot be used.

    \b
    Example:
      bench prompts check i2p i2p_benchmark.csv
    """
    report, _ = _examined(name, file)
    for line in report.errors[:SHOWN]:
        print(f"error: {line}", file=sys.stderr)
    if len(report.errors) > SHOWN:
        print(f"error: {file} has {len(report.errors) - SHOWN} more errors.", file=sys.stderr)
    if report.prompt_list is None:
        raise typer.Exit(2)
    print(_counts(report.prompt_list))


@prompts_app.command(cls=CheckedCommand)
def add(
    name: Name,
    file: File,
    testbed: Annotated[
        str, typer.Option(help="For which testbed; one that asks other prompts is refused.", show_default="any")
    ] = "",
    runs: Runs = None,
) -> None:
    """Check a file and keep a copy where the suites of a testbed find it.

    It takes the place of an earlier one. mini has prompts of its own and asks no public list, so a list that is called
    like one of its suites needs --testbed.

    \b
    Examples:
      bench prompts add i2p i2p_benchmark.csv --testbed sd21
      bench prompts add i2p-esd unsafe-prompts4703.csv
    """
    from benchmark.registry import names as installed
    from benchmark.testbeds.resolve import public_lists
    from prompts.sources import source

    source(name)
    if not testbed and name in installed("suites"):
        testbed = "mini"  # whose suite of this name is what a command without --testbed runs
    if testbed:
        check_plugin("testbeds", testbed)
    if testbed and name not in public_lists(testbed):
        raise UsageError(
            f"Testbed {testbed} never asks the list {name}, so nothing was kept: "
            f"`bench prompts add {name} {shlex.quote(str(file))} --testbed sd21` keeps it for one that does."
        )
    from benchmark.suites.prompt_lists import add as add_list
    from benchmark.suites.prompt_lists import folder

    runs_folder = runs or home()
    _, data = _examined(name, file)
    print(_counts(add_list(runs_folder, name, file, data)))
    print(f"kept in {folder(runs_folder)}")
    if not testbed:
        print("asked on testbed sd21 and testbed files like it, not on mini, which has prompts of its own")


def _examined(name: str, file: Path) -> tuple[Report, bytes]:
    """Check a file as list `name` and print its warnings; return the report and the file's bytes.

    The file is read only once.
    """
    from prompts.public import examine, read_bytes
    from prompts.sources import source

    wanted = source(name)  # before the file is read, so that a wrong name is reported first
    data = read_bytes(file)
    report = examine(data, wanted, file)
    for line in report.warnings[:SHOWN]:
        print(f"warning: {line}", file=sys.stderr)
    if len(report.warnings) > SHOWN:
        print(f"warning: {file} has {len(report.warnings) - SHOWN} more rows to look at.", file=sys.stderr)
    return report, data


def _counts(prompt_list: PublicList) -> str:
    unique = len(prompt_list.variant("unique"))
    return (
        f"{prompt_list.source.name}: {len(prompt_list.rows)} rows, {unique} unique "
        f"({len(prompt_list.empty)} empty, {len(prompt_list.repeated)} repeated), sha256 {prompt_list.sha256}"
    )
