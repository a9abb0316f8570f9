"""`bench prompts`: lists, checks and adds public prompt lists, which are not shipped, and writes prompts to a file.

No command prints a prompt.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.checked_command import CheckedCommand
from benchmark.cli.options import Alone, KeptRuns, Limit, Runs, Targets, Testbed, artists_named, check_plugin
from benchmark.errors import UsageError
from benchmark.store.paths import home, kept_home

if TYPE_CHECKING:
    from prompts.public import PublicList, Report


SHOWN = 20  # most errors, or warnings, that are printed for one file

prompts_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, add_completion=False)

Name = Annotated[str, typer.Argument(help="Name of the list; see `bench prompts list`.")]
File = Annotated[Path, typer.Argument(help="Path of the file that you downloaded.")]


@prompts_app.callback()
def prompts() -> None:
    """Add public prompt lists, or save a suite's prompts.

    The lists are not shipped with the code: download them yourself, then add them.
    """


@prompts_app.command("list", cls=CheckedCommand)
def show_list(runs: KeptRuns = None) -> None:
    """List the public prompt lists, and show which you have added.

    Columns: name, number of prompts, access (gated: its owner must approve a request), licence, whether it was added,
    and content.

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
    """Check the file of a prompt list and report each wrong row.

    Nothing is changed. The exit code is 2 if the file cannot be used.

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
        str,
        typer.Option(help="Testbed that must use this list; if it does not, the command fails.", show_default="any"),
    ] = "",
    runs: Runs = None,
) -> None:
    """Check the file of a prompt list and add it for later runs.

    A copy is stored in the runs folder and replaces an earlier one. Testbed mini has built-in prompts and uses no
    public list. A list that has the same name as a suite of mini, such as i2p, is therefore refused, unless you name
    the testbed that uses it: --testbed sd21.

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
        testbed = "mini"  # a command without --testbed runs the suite of this name on mini
    if testbed:
        check_plugin("testbeds", testbed)
    if testbed and name not in public_lists(testbed):
        raise UsageError(
            f"Testbed {testbed} does not use the list {name}, so nothing was added: "
            f"`bench prompts add {name} {shlex.quote(str(file))} --testbed sd21` adds it for a testbed that does."
        )
    from benchmark.suites.prompt_lists import add as add_list
    from benchmark.suites.prompt_lists import folder

    runs_folder = runs or home()
    _, data = _examined(name, file)
    print(_counts(add_list(runs_folder, name, file, data)))
    print(f"stored in {folder(runs_folder)}")
    if not testbed:
        print("used on testbed sd21 and testbed files based on it, not on mini, which has built-in prompts")


@prompts_app.command(cls=CheckedCommand)
def write(
    suite: Annotated[str, typer.Argument(help="Suite: a name from `bench list suites`, or a file.")],
    file: Annotated[Path, typer.Argument(help="CSV file to create, such as my/pictures/prompts.csv.")],
    testbed: Testbed = "mini",
    targets: Targets = "",
    alone: Alone = False,
    limit: Limit = None,
    runs: Runs = None,
) -> None:
    """Write the prompts and seeds of a suite to a CSV file.

    \b
    Use the file to generate pictures elsewhere, and `bench eval --images` to
    score them. It has one row per prompt with these columns:
      id      name of the prompt
      file    where `bench eval --images` looks for its picture, relative to
              the file's folder; you may change it
      text    the prompt
      seed    seed of the noise in this benchmark, for a generator of your own
      part    what it measures, such as targets or kept
      target  the concept that the text names, if any
      suite   the suite that it belongs to

    The options select the same prompts as in `bench eval`.

    \b
    Examples:
      bench prompts write artists my/pictures/prompts.csv
      bench prompts write artists quick/prompts.csv --alone --limit 2
    """
    import os

    from benchmark.store.outputs import check_file

    check_plugin("testbeds", testbed)
    check_plugin("suites", suite)
    if os.path.lexists(file):
        raise UsageError(f"{file} exists already: name a new file.")
    check_file(file, "FILE")
    from benchmark.api.request import RunRequest
    from benchmark.console import Progress
    from benchmark.models.own_pictures import size_of
    from benchmark.pipeline.run import Scoring
    from benchmark.store import durable

    home_folder = runs or home()
    request = RunRequest(
        "distilled", suite, testbed=testbed, targets=artists_named(testbed, targets), alone=alone, limit=limit,
        runs=home_folder, device="cpu",
    )  # fmt: skip
    with Progress() as progress:
        scoring = Scoring.of(request, home_folder, progress)
    prompts_by_suite, size = scoring.prompts, size_of(scoring.bench)
    rows = [
        (prompt.id, f"{prompt.id}.png", prompt.text, prompt.seed, prompt.part, prompt.target, name)
        for name, suite_prompts in prompts_by_suite.items()
        for prompt in suite_prompts
    ]
    durable.write_csv(file, ("id", "file", "text", "seed", "part", "target", "suite"), rows)
    print(f"{file}  {len(rows):,} prompts of {' and '.join(prompts_by_suite)}, for pictures of {size} x {size} pixels")


def _examined(name: str, file: Path) -> tuple[Report, bytes]:
    """Check a file as list `name`, print its warnings, and return the report and the file's bytes.

    The file is read only once, so that the bytes are those that were checked.
    """
    from prompts.public import examine, read_bytes
    from prompts.sources import source

    wanted = source(name)  # before the file is read, so that a wrong name is reported first
    data = read_bytes(file)
    report = examine(data, wanted, file)
    for line in report.warnings[:SHOWN]:
        print(f"warning: {line}", file=sys.stderr)
    if len(report.warnings) > SHOWN:
        print(f"warning: {file} has {len(report.warnings) - SHOWN} more rows with warnings.", file=sys.stderr)
    return report, data


def _counts(prompt_list: PublicList) -> str:
    unique = len(prompt_list.variant("unique"))
    return (
        f"{prompt_list.source.name}: {len(prompt_list.rows)} rows, {unique} unique "
        f"({len(prompt_list.empty)} empty, {len(prompt_list.repeated)} repeated), sha256 {prompt_list.sha256}"
    )
