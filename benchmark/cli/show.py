"""`bench show`: how a row was made, and how to make it again."""

from __future__ import annotations

import json
import shlex
from enum import StrEnum
from typing import Annotated

import typer

from benchmark.cli.options import Records, Runs, Testbed, check_plugin, records_home
from benchmark.cli.shown_suite import ShownConcept, shown_suite, suite_or_concept


class Format(StrEnum):
    """Output formats."""

    text = "text"
    json = "json"


def show(
    ctx: typer.Context,
    row: Annotated[
        str,
        typer.Argument(
            help="Row to show: its label in `bench table` (also with --all or --over-seeds), the file of a record, or "
            "at least four digits of the id that `bench run` prints.",
            metavar="ROW",
        ),
    ],
    testbed: Testbed = "mini",
    suite: Annotated[
        str,
        typer.Option(
            help="Suite of the table that contains the row: a name or a file.", show_default="any, artists first"
        ),
    ] = "",
    concept: ShownConcept = "",
    format: Annotated[Format, typer.Option(help="Output format.")] = Format.text,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Show the command, settings, cost and files of a row.

    The command makes the same row again. If it is run on the commit and with the versions that are shown, results are
    equal up to rounding. `code` is a checksum of this package's Python files, which also shows changes that were never
    committed. A plug-in is "unchanged" if its file still has the code that the row was made with.

    Your own records come before committed ones. A label that stands for an average shows every row that it averages.
    Scores of single images, with the text of each prompt, are in the parquet file that is listed under "Files"; the
    texts of suites of explicit content are not stored there.

    \b
    Examples:
      bench show bilevel
      bench show "uce-captions (kept_names=halves)"
      bench show 4cd19acb --runs other/runs
      bench show runs/records/mini-esd-artists-seed0-12345678.record.json
      bench show bilevel --suite i2p --format json
      bench show uce --concept boat.toml
    """
    from benchmark.report.find_row import find_rows
    from benchmark.report.row_facts import facts_of
    from benchmark.report.row_text import text_of
    from benchmark.tables.select import RESULTS, all_records

    name = check_plugin("testbeds", testbed)
    home = records_home(runs, records)
    if suite := suite_or_concept(ctx, suite, concept):
        entries = all_records(RESULTS / name / "records", home, records or [])
        suite = shown_suite(suite, (record for record, _ in entries if record.testbed == name))
    options = ("--runs", shlex.quote(str(runs))) if runs is not None else ()
    rows = [facts_of(named, home, options) for named in find_rows(row, name, suite, home, records or [])]
    if format == Format.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        print("\n\n".join(text_of(facts) for facts in rows))
