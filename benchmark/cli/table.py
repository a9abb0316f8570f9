"""`bench table` and `bench compare`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from benchmark.cli.options import (
    Columns,
    LimitShown,
    Records,
    Runs,
    Testbed,
    artists_named,
    check_plugin,
    names,
    records_home,
    refuse_unread,
    share_of_macs,
    shown_suite,
)
from benchmark.cli.run_options import ALL
from benchmark.errors import UsageError


class Format(StrEnum):
    """How `bench table` prints; the names of `tables_render.FORMATS`."""

    rich = "rich"
    json = "json"
    markdown = "markdown"


UNREAD = {
    1: {"threshold": "--threshold", "label": "--label"},
    2: {"suite": "--suite", "long": "--long", "all_": "--all", "pruning": "--pruning", "targets": "--targets"},
}
"""Options that a table does not read: table 1; table 2."""
UNREAD[3] = {**UNREAD[1], **UNREAD[2]}


def show_table(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(help="Table of the paper: 1, 2 or 3.", metavar="[1]")] = 1,
    testbed: Testbed = "mini",
    suite: Annotated[
        str, typer.Option(help="artists (with coco beside it), coco, or your own: a name or a file.")
    ] = "artists",
    paper: Annotated[bool, typer.Option("--paper", help="Put the paper's value beside the measured one.")] = False,
    long: Annotated[bool, typer.Option("--long", help="Add where the erased goes, content, KID, drift, cost.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Every budget, target set, pruning and older recipe.")] = False,
    pruning: Annotated[
        str, typer.Option(help="One pruning at all its MACs, or all of them side by side: all.", show_default="default")
    ] = "",
    targets: Annotated[
        str, typer.Option(help='Table 1: "A,B"; the models that forgot these.', show_default="the testbed's")
    ] = "",
    seeds: Annotated[bool, typer.Option("--over-seeds", help="One row a method, means over training seeds.")] = False,
    columns: Columns = "",
    limit: LimitShown = None,
    threshold: Annotated[float, typer.Option(help="Table 2: score above which a detection counts.")] = 0.5,
    label: Annotated[
        list[str] | None, typer.Option(help="Table 2: a detector's label that counts; may be repeated.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.rich,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Print the leaderboard, or another table of the paper.

    Table 1 is of styles, 2 of attacks, 3 of what forgetting nudity costs.
    Committed reference runs and your own are both shown, and marked.

    \b
    Examples:
      bench table
      bench table 2 --threshold 0.6
      bench table --paper --long
      bench table --over-seeds
      bench table --pruning all --long
      bench table --format markdown > table.md
      bench table --records other/runs/records
    """
    from benchmark.registry import is_file
    from benchmark.tables.columns import BUILT_IN
    from benchmark.tables.render import FORMATS
    from benchmark.tables.select import gather, of_definition
    from benchmark.tables.table import noted, only
    from benchmark.tables.table1_styles import table
    from benchmark.testbeds.resolve import sampling_of

    sampling = sampling_of(testbed)
    made_on, testbed = testbed, check_plugin("testbeds", testbed)
    if pruning not in ("", ALL) and not is_file(pruning):  # records outlive a file
        check_plugin("prunings", pruning)
    if number not in UNREAD:
        raise UsageError(f"Table {number} is none of those that can be made: 1, 2 and 3.")
    refuse_unread(ctx, UNREAD[number], f"table {number} has none of it")
    if not 0 < threshold < 1:
        raise UsageError(f"--threshold is a score between 0 and 1; {threshold:g} is not.")
    target_names = artists_named(testbed, targets)
    column_names = names(columns, "--columns")
    all_entries = gather(testbed, records_home(runs, records), records or [], limit)
    entries = of_definition(all_entries, testbed, sampling)
    suite_name = shown_suite(suite, (record for record, _ in entries))
    if paper and suite_name not in BUILT_IN:
        raise UsageError(f"--paper is of the paper's suites, and '{suite_name}' is none of them: leave it out.")
    from benchmark.tables.table2_3_explicit import table2, table3

    if number == 1:
        wide = long or bool(columns)
        shown_table = table(
            entries, testbed, suite_name, long=wide, paper=paper, everything=all_, pruning=pruning,
            targets=target_names, made_on=made_on, suite_option=suite,
        )  # fmt: skip
    elif number == 2:
        shown_table = table2(entries, testbed, threshold=threshold, labels=label or (), paper=paper, made_on=made_on)
    else:
        shown_table = table3(entries, testbed, paper=paper, made_on=made_on)
    if seeds:
        from benchmark.tables.over_seeds import over_seeds

        shown_table = over_seeds(shown_table)
    if left_out := len(all_entries) - len(entries):
        records_are = "1 record is" if left_out == 1 else f"{left_out} records are"
        shown_table = noted(
            shown_table, f"{records_are} left out: of a testbed '{testbed}' whose file says other sampling."
        )
    FORMATS[format](only(shown_table, column_names) if columns else shown_table)


def compare(
    left: Annotated[str, typer.Argument(help="A method, or the label of a row of `bench table`.")],
    right: Annotated[str, typer.Argument(help="Another.")],
    testbed: Testbed = "mini",
    suite: Annotated[
        str, typer.Option(help="artists (with coco beside it), coco, or your own: a name or a file.")
    ] = "artists",
    long: Annotated[bool, typer.Option("--long", help="Every column, not only the paper's.")] = False,
    columns: Columns = "",
    pruning: Annotated[str, typer.Option(help="Models of this pruning.", show_default="the default one")] = "",
    limit: LimitShown = None,
    macs: Annotated[float | None, typer.Option(help="Share of MACs.", show_default="the default one")] = None,
    margins: Annotated[
        bool,
        typer.Option("--non-inferiority", help="Add the one-sided 95 % bound of how much worse the first one is."),
    ] = False,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.rich,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Test the difference between two methods.

    Tests are paired by targets and training seed.
    With several such units intervals and p are over units; with one, over the prompts of that one pair of models.

    \b
    Examples:
      bench compare bilevel esd
      bench compare bilevel "bilevel (lower_rate=5e-05)" --long
      bench compare distilled "distilled (seed 1)"
      bench compare bilevel esd --macs 0.55
      bench compare 'uce-captions (kept_names=halves)' bilevel --long --non-inferiority
      bench compare bilevel distilled --format json
    """
    from benchmark.registry import is_file
    from benchmark.tables.compare import compare as compared
    from benchmark.tables.compare import only
    from benchmark.tables.render_compare import FORMATS
    from benchmark.tables.select import gather

    if left.strip() == right.strip():
        raise UsageError(f"'{left}' would be compared with itself: name two rows of `bench table`.")
    testbed = check_plugin("testbeds", testbed)
    if pruning and not is_file(pruning):
        check_plugin("prunings", pruning)
    share_of_macs(pruning, macs)
    column_names = names(columns, "--columns")
    entries = gather(testbed, records_home(runs, records), records or [], limit)
    suite = shown_suite(suite, (record for record, _ in entries))
    wide = long or bool(columns)
    comparison = compared(entries, testbed, suite, left, right, long=wide, pruning=pruning, macs=macs)
    FORMATS[format](only(comparison, column_names) if columns else comparison, margins)
