"""Turns a table into a leaderboard, as `bench table --sort`, `--rank` and `--top` show it."""

from __future__ import annotations

from benchmark.tables.mean_rank import MEAN_RANK, with_mean_rank
from benchmark.tables.ranking import narrowed, ranked, top
from benchmark.tables.sort_column import column_named
from benchmark.tables.table import Table


def leaderboard(table: Table, sort: str, rank: bool, count: int | None, *, keeps_columns: bool) -> Table:
    """Return the table with ranks.

    Args:
        table: the rows in their usual order, with all columns that `sort` may name.
        sort: column to rank by, as a key or a heading; empty for the mean rank.
        rank: whether to add the mean rank over the paper's columns.
        count: number of rows to show; None for all.
        keeps_columns: False to show only the columns of the default view, and the sorted one.

    Raises:
        UsageError: `sort` names no column that ranks the rows, or the table has no mean rank.
    """
    averaged = None
    if rank:
        table, averaged = with_mean_rank(table)
    column = column_named(table, sort) if sort else MEAN_RANK
    table = ranked(table, column, averaged if column.key == MEAN_RANK.key and averaged else ())
    if count is not None:
        table = top(table, count)
    return table if keeps_columns else narrowed(table, column)
