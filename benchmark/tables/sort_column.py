"""Finds the column that `bench table --sort` names."""

from __future__ import annotations

from benchmark.errors import UsageError
from benchmark.registry import unknown
from benchmark.tables.columns import COLUMNS, Column
from benchmark.tables.rank_rules import value_in
from benchmark.tables.render import header
from benchmark.tables.table import Table


def column_named(table: Table, name: str) -> Column:
    """Return the column that a user names by its key in JSON, or by its heading, such as "csd" or "COCO FID".

    Upper and lower case and arrows do not matter. A key takes precedence over a heading, and a heading without "COCO"
    is accepted if one column has it.

    Raises:
        UsageError: the table has no such column, it has one per scoring network, or no direction is better in it.
    """
    wanted = _plain(name)
    keys = {_plain(column.key): column for column in table.columns}
    headings = {_plain(header(column)): column for column in reversed(table.columns)}
    column = keys.get(wanted) or headings.get(wanted)
    if column is None:
        parts = [column.key for column in table.columns if _plain(column.key).partition("[")[0] == wanted]
        same_heading = [column for column in table.columns if _plain(column.header) == wanted]
        if len(same_heading) == 1 and not parts:
            return _usable(table, same_heading[0], name)
        if parts:
            raise UsageError(
                f"--sort {name}: different networks scored the rows, so there is a column for each: use one of "
                f"{', '.join(parts)}."
            )
        declared = next((c for c in COLUMNS if wanted in (_plain(c.key), _plain(header(c)), _plain(c.header))), None)
        if declared is None or table.number != 1 or declared.suite not in (table.suite, "coco", "cost"):
            raise unknown("column", name, [column.key for column in table.columns])
    return _usable(table, column, name)


def _usable(table: Table, column: Column | None, name: str) -> Column:
    """Return the column; raise UsageError if no row has a value in it, or no direction is better."""
    if column is None or all(value_in(row, column) is None for row in table.rows):
        raise UsageError(f"--sort {name}: no row of this table has a value in that column.")
    if column.better is None:
        raise UsageError(f"--sort {name}: in that column neither lower nor higher is better, so it gives no ranks.")
    return column


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("↑", " ").replace("↓", " ").split())
