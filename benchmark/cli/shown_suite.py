"""The suite of commands that show records: `--suite`, a name or a file, or `--concept`, the file of a concept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import check_plugin, given_options
from benchmark.errors import UsageError

if TYPE_CHECKING:
    from benchmark.records.record import Record


RowSuite = Annotated[
    str,
    typer.Option(
        help="Suite of the table that contains the row: a name, also that of a suite or concept of yours, or its file."
    ),
]
ShownConcept = Annotated[
    str,
    typer.Option(
        "--concept",
        metavar="<path>",
        help="Instead of --suite: the TOML file of a concept of your own, as in `bench run --concept`.",
        show_default="none",
    ),
]


def suite_or_concept(ctx: typer.Context, suite: str, concept: str) -> str:
    """Return the suite that a command line names: the value of `--suite`, or else the file of `--concept`.

    Raises:
        UsageError: both are given, or `--concept` does not name a concept's file.
        DataError: the file is wrong.
    """
    from benchmark.suites import load

    if not concept:
        return suite
    if "suite" in given_options(ctx):
        raise UsageError("--suite and --concept both name the suite: give one of them.")
    load.load_concept(concept)
    return concept


def shown_suite(name: str, records: Iterable[Record]) -> str:
    """Return the name that records use for the suite that a table, a figure or a command on a row shows.

    A name that is not installed is accepted if `records` contain it: it is that of a suite or concept from a file, or
    of a plug-in that was removed. Raises the errors of `check_plugin`; if a suite's file does not exist, the message
    lists the suites of the records.
    """
    from benchmark.suites import load

    recorded = {record.suite for record in records}
    if name in recorded:
        return name
    path = Path(name.rpartition(".py:")[0] + ".py" if ".py:" in name else name).expanduser()
    if load.is_file(name) and not path.is_file():
        available = f" Available: {', '.join(sorted(recorded))}." if recorded else ""
        raise UsageError(f"The suite file {path} does not exist: give the suite's name as in its records.{available}")
    return check_plugin("suites", name)
