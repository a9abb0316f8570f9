"""Leaderboards: sorts the rows of a table by a column and gives them ranks (`bench table --sort`, `--rank`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmark.tables.columns import Column
from benchmark.tables.rank_rules import reasons_against, shared_ranks
from benchmark.tables.render import header
from benchmark.tables.table import Table


def ranked(table: Table, column: Column, columns: Sequence[Column] = ()) -> Table:
    """Return the table with its rows sorted by a column, best first, and with ranks.

    Rows are put into groups: the first row of a group is its best, and each following row belongs to the group if its
    95 % interval overlaps that of the first row; a value without an interval is an interval of width 0. All rows of a
    group share a rank, which is one more than the number of rows in the groups before (1, 1, 3). Overlap is a coarse
    criterion: `bench compare` tests the difference between two rows.

    Rows without a rank come last, and a note names the reason: see `reasons_against`. `columns` are the columns that a
    row needs for a rank, by default the sorted one.
    """
    reasons = reasons_against(table.rows, columns or [column])
    able = [row for number, row in enumerate(table.rows) if number not in reasons]
    sign = -1 if column.better else 1
    able.sort(key=lambda row: sign * (row.cells[column.key].value or 0.0))
    ranks = shared_ranks([row.cells[column.key] for row in able])
    rows = [replace(row, rank=rank) for row, rank in zip(able, ranks, strict=True)]
    rest = sorted(reasons, key=lambda number: table.rows[number].lost_contents)
    rows += [table.rows[number] for number in rest]
    direction = "higher" if column.better else "lower"
    notes = [
        f"Ranked by {header(replace(column, better=None))} ({direction} is better). Rows share a rank if their "
        "intervals overlap that of the best row among them."
    ]
    if rest:
        named = [f"{table.rows[number].label} ({reasons[number]})" for number in rest]
        notes.append(f"Not ranked: {', '.join(named)}.")
    return replace(table, rows=rows, notes=[*table.notes, *notes], ranked_by=column.key)


def top(table: Table, count: int) -> Table:
    """Return a ranked table with its first `count` rows; a note counts the others."""
    hidden = table.rows[count:]
    if not hidden:
        return table
    shown_ranks = {row.rank for row in table.rows[:count] if row.rank is not None}
    sharing = sum(row.rank in shown_ranks for row in hidden)
    note = f"--top {count} leaves out {len(hidden)} row{'s' * (len(hidden) != 1)}"
    if sharing:
        note += f", {sharing} of which share{'s' * (sharing == 1)} the rank of a row above"
    return replace(table, rows=table.rows[:count], notes=[*table.notes, f"{note}."])


def narrowed(table: Table, column: Column) -> Table:
    """Return the table with the columns of its default view and the sorted one, which joins them."""
    columns = [replace(c, section="") if c.key == column.key else c for c in table.columns]
    return replace(table, columns=[c for c in columns if not c.section])
