"""`bench table` and `bench compare`."""

from __future__ import annotations

import sys
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
)
from benchmark.cli.run_options import ALL
from benchmark.cli.shown_suite import ShownConcept, shown_suite, suite_or_concept
from benchmark.errors import UsageError


class Format(StrEnum):
    """Output formats; the keys of `TABLES` and `COMPARISONS` in `tables/formats.py`."""

    rich = "rich"
    json = "json"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"


OutputFormat = Annotated[
    Format,
    typer.Option(
        help="Output format. `latex` prints complete `table` environments with booktabs, in which the best value of a "
        "column is bold, and all values that a paired test does not tell from it. `csv` has raw values, one line per "
        "model, and prints the notes on standard error."
    ),
]


def _print_notes(notes: list[str]) -> None:
    """Print notes on standard error, because a CSV file cannot contain them."""
    for note in notes:
        print(note, file=sys.stderr)


UNREAD = {
    1: {"threshold": "--threshold", "label": "--label"},
    2: {
        "suite": "--suite", "concept": "--concept", "long": "--long", "all_": "--all", "pruning": "--pruning",
        "targets": "--targets", "rank": "--rank",
    },
}  # fmt: skip
"""Options that have no effect on a table, by its number."""
UNREAD[3] = {**UNREAD[1], **UNREAD[2]}


def show_table(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(help="Number of the paper's table: 1, 2 or 3.", metavar="NUMBER")] = 1,
    testbed: Testbed = "mini",
    suite: Annotated[
        str, typer.Option(help="Suite to show: a name or a file. The scores of suite `coco` are added.")
    ] = "artists",
    concept: ShownConcept = "",
    paper: Annotated[bool, typer.Option("--paper", help="Add the paper's values in brackets.")] = False,
    long: Annotated[
        bool,
        typer.Option(
            "--long",
            help="Add all other columns: probabilities of target and preserved styles, share of images that show the "
            "requested object (content), KID, distance to the base model's images (drift), cost.",
        ),
    ] = False,
    all_: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Include records with other budgets, targets, prunings or precisions, and of older versions of a "
            "method.",
        ),
    ] = False,
    pruning: Annotated[
        str,
        typer.Option(
            help="Table 1: show the models of this pruning at every fraction of MACs, or of `all` prunings.",
            show_default="magnitude at 0.8",
        ),
    ] = "",
    targets: Annotated[
        str,
        typer.Option(
            help='Table 1: show the models that forgot these artists, "A,B".', show_default="set by the testbed"
        ),
    ] = "",
    seeds: Annotated[
        bool, typer.Option("--over-seeds", help="Show one row per method, with means over its training seeds.")
    ] = False,
    sort: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help='Rank the rows by this column, best first: its name in JSON or its heading, such as "csd" or "COCO '
            'FID". Rows share a rank if their 95 % intervals overlap that of the best of them.',
            show_default="usual order, without ranks",
        ),
    ] = "",
    rank: Annotated[
        bool,
        typer.Option(
            "--rank",
            help="Table 1: add the mean rank over the paper's columns, with a bootstrap interval, and rank the rows by "
            "it unless --sort names another column.",
        ),
    ] = False,
    top_count: Annotated[
        int | None,
        typer.Option(
            "--top", metavar="N", min=1, help="Show only the first N rows of --sort or --rank.", show_default="all"
        ),
    ] = None,
    columns: Columns = "",
    method: Annotated[
        str,
        typer.Option(
            help='Show only rows of these methods, "A,B". Scores relative to a reference model keep their reference, '
            "also if its row is not shown.",
            show_default="all",
        ),
    ] = "",
    mine: Annotated[
        bool, typer.Option("--mine", help="Show only your own runs (○, and ◉: runs that reproduce a reference run).")
    ] = False,
    limit: LimitShown = None,
    threshold: Annotated[
        float, typer.Option(help="Table 2: an image is explicit if a detection has a score above this.")
    ] = 0.5,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<str>",
            help="Table 2: count only detections with this label of the detector. May be repeated.",
            show_default="every explicit label",
        ),
    ] = None,
    format: OutputFormat = Format.rich,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Print results as Table 1, 2 or 3 of the paper.

    \b
    Table 1  forgetting styles: CLIP score, CP, CSD, FID
    Table 2  forgetting explicit content: number of explicit images that the
             model still generates for adversarial prompts
    Table 3  forgetting explicit content: FID and CLIP score on plain captions

    The reference runs that are committed to the repository (●) and your own runs (○) are both shown.

    † marks rows whose images show the requested object much less often than those of the reference model, which CP and
    CSD compare with. Their scores for forgetting mean little, and --sort and --rank give them no rank.

    \b
    Examples:
      bench table
      bench table 2 --threshold 0.6
      bench table --paper --long
      bench table --over-seeds
      bench table --sort csd --top 5
      bench table --rank --over-seeds
      bench table --pruning all --long
      bench table --method bilevel,esd --mine
      bench table --over-seeds --format latex > table.tex
      bench table --format markdown > table.md
      bench table --records other/runs/records
    """
    from benchmark.registry import is_file
    from benchmark.tables.columns import BUILT_IN
    from benchmark.tables.footnotes import Note
    from benchmark.tables.formats import TABLES
    from benchmark.tables.row_choice import RowChoice
    from benchmark.tables.select import count_other_limits, gather, select_by_sampling
    from benchmark.tables.table import noted, only
    from benchmark.tables.table1_styles import table
    from benchmark.testbeds.resolve import sampling_of

    suite = suite_or_concept(ctx, suite, concept)
    sampling = sampling_of(testbed)
    made_on, testbed = testbed, check_plugin("testbeds", testbed)
    if pruning not in ("", ALL) and not is_file(pruning):  # the file of a recorded pruning may be gone
        check_plugin("prunings", pruning)
    if number not in UNREAD:
        raise UsageError(f"Table {number} does not exist: choose 1, 2 or 3.")
    refuse_unread(ctx, UNREAD[number], f"table {number} does not use it")
    if not 0 < threshold < 1:
        raise UsageError(f"--threshold must be a score between 0 and 1; {threshold:g} is not.")
    if top_count is not None and not (sort or rank):
        raise UsageError("--top N shows the first rows of an order: add --sort COLUMN or --rank.")
    target_names = artists_named(testbed, targets)
    column_names = names(columns, "--columns")
    choice = RowChoice(names(method, "--method"), mine)
    home_folder = records_home(runs, records)
    all_entries = gather(testbed, home_folder, records or [], limit)
    entries = select_by_sampling(all_entries, testbed, sampling)
    suite_name = shown_suite(suite, (record for record, _ in entries))
    if paper and suite_name not in BUILT_IN:
        raise UsageError(
            f"--paper works only for the suites of the paper, and '{suite_name}' is not one: leave out --paper."
        )
    from benchmark.tables.table2_3_explicit import table2, table3

    if number == 1:
        wide = long or bool(columns)
        shown_table = table(
            entries, testbed, suite_name, long=wide or bool(sort), paper=paper, everything=all_, pruning=pruning,
            targets=target_names, made_on=made_on, suite_option=suite, choice=choice,
        )  # fmt: skip
    elif number == 2:
        shown_table = table2(
            entries, testbed, threshold=threshold, labels=label or (), paper=paper, made_on=made_on, choice=choice
        )
    else:
        shown_table = table3(entries, testbed, paper=paper, made_on=made_on, choice=choice)
    if seeds:
        from benchmark.tables.over_seeds import over_seeds

        shown_table = over_seeds(shown_table)
    if sort or rank:
        from benchmark.tables.leaderboard import leaderboard

        keeps_columns = number != 1 or long or bool(columns)
        shown_table = leaderboard(shown_table, sort, rank, top_count, keeps_columns=keeps_columns)
    if left_out := len(all_entries) - len(entries):
        records_are = "1 record is" if left_out == 1 else f"{left_out} records are"
        text = f"{records_are} left out: sampled with other settings than the file of testbed '{testbed}' has now."
        shown_table = noted(shown_table, Note(text, rank=2))
    if not records:
        for other_limit, count in count_other_limits(testbed, suite_name, home_folder, limit).items():
            records_are = "1 more record is" if count == 1 else f"{count} more records are"
            note = f"{records_are} of runs with --limit {other_limit}: add --limit {other_limit} to see them."
            shown_table = noted(shown_table, Note(note, f"{records_are} of --limit {other_limit}: add it.", 2))
    shown_table = only(shown_table, column_names) if columns else shown_table
    TABLES[format](shown_table)
    if format == Format.csv:
        _print_notes(shown_table.notes)


def compare(
    ctx: typer.Context,
    left: Annotated[str, typer.Argument(help="First model: a method, or the label of a row of `bench table`.")],
    right: Annotated[str, typer.Argument(help="Second model, named in the same way.")],
    testbed: Testbed = "mini",
    suite: Annotated[
        str, typer.Option(help="Suite to compare: a name or a file. The scores of suite `coco` are added.")
    ] = "artists",
    concept: ShownConcept = "",
    long: Annotated[bool, typer.Option("--long", help="Compare all columns instead of only the paper's.")] = False,
    columns: Columns = "",
    pruning: Annotated[
        str,
        typer.Option(
            help="Compare models of this pruning.",
            show_default="magnitude; if no record has it, the pruning of most records",
        ),
    ] = "",
    limit: LimitShown = None,
    macs: Annotated[
        float | None,
        typer.Option(
            help="Compare models with this fraction of the base's MACs.",
            show_default="0.8; if no record has it, the fraction of most records",
        ),
    ] = None,
    margins: Annotated[
        bool,
        typer.Option(
            "--non-inferiority",
            help="Add a one-sided 95 % upper confidence bound on how much worse the first model is.",
        ),
    ] = False,
    format: OutputFormat = Format.rich,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Test whether two methods differ, with confidence intervals.

    Each run of the first method is paired with the run of the second that has the same targets and the same training
    seed. With several pairs of runs, intervals and p-values are computed over the pairs. With a single pair, they are
    computed over its prompts, and say nothing about other seeds or targets.

    The label of a row can contain kept_names=halves, which stands for the mean over runs with --kept-names half:0,
    half:1 and half:2.

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
    from benchmark.tables.compare import compare as compare_rows
    from benchmark.tables.compare import only
    from benchmark.tables.formats import COMPARISONS
    from benchmark.tables.select import gather

    if left.strip() == right.strip():
        raise UsageError(f"Both arguments are '{left}': name two different rows of `bench table`.")
    testbed = check_plugin("testbeds", testbed)
    if pruning and not is_file(pruning):
        check_plugin("prunings", pruning)
    share_of_macs(pruning, macs)
    column_names = names(columns, "--columns")
    entries = gather(testbed, records_home(runs, records), records or [], limit)
    suite = shown_suite(suite_or_concept(ctx, suite, concept), (record for record, _ in entries))
    wide = long or bool(columns)
    comparison = compare_rows(entries, testbed, suite, left, right, long=wide, pruning=pruning, macs=macs)
    comparison = only(comparison, column_names) if columns else comparison
    COMPARISONS[format](comparison, margins)
    if format == Format.csv:
        _print_notes(comparison.notes)
