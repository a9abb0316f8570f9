"""Leaderboards: sorts the rows of a table by a column and gives them ranks (`bench table --sort`, `--rank`)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from benchmark.errors import UsageError
from benchmark.registry import unknown
from benchmark.tables.columns import COLUMNS, Column, compares_with_reference
from benchmark.tables.contents import MARK
from benchmark.tables.render import header
from benchmark.tables.select import targets_of
from benchmark.tables.table import Figure, Row, Table


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
    if column is None or all(_value(row, column) is None for row in table.rows):
        raise UsageError(f"--sort {name}: no row of this table has a value in that column.")
    if column.better is None:
        raise UsageError(f"--sort {name}: in that column neither lower nor higher is better, so it gives no ranks.")
    return column


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


def reasons_against(rows: Sequence[Row], columns: Sequence[Column]) -> dict[int, str]:
    """Return why rows cannot be ranked by these columns, by the row's number.

    A row is not ranked if its images lost the requested objects, if it has no value in one of the columns, or if its
    values cannot be compared with those of most rows: prompts or inputs of the testbed differ, or, for columns that are
    relative to a reference model, that model differs.
    """
    reasons: dict[int, str] = {}
    keys: dict[int, tuple[str, ...]] = {}
    for number, row in enumerate(rows):
        missing = [header(replace(c, better=None)) for c in columns if _value(row, c) is None]
        if row.lost_contents:
            reasons[number] = MARK
        elif missing:
            reasons[number] = f"no {' and '.join(missing)}"
        else:
            keys[number] = _comparable_key(row, columns)
    usual = Counter(keys.values()).most_common(1)
    for number, key in keys.items():
        if key != usual[0][0]:
            differing = [
                fact for fact, own, usual_value in zip(_FACTS, key, usual[0][0], strict=True) if own != usual_value
            ]
            reasons[number] = f"different {' and '.join(differing)}"
    return reasons


_FACTS = ("targets", "inputs", "reference model")


def _comparable_key(row: Row, columns: Sequence[Column]) -> tuple[str, ...]:
    """Return, in the order of `_FACTS`, what two rows must share so that their values can be compared."""
    record = row.record
    reads_targets = any(column.suite not in ("coco", "cost") for column in columns)
    reads_images = any(column.suite != "cost" for column in columns)
    is_relative = any(map(compares_with_reference, columns))
    return (
        ", ".join(sorted(targets_of(record))) if reads_targets else "",
        json.dumps(record.world, sort_keys=True) if reads_images else "",
        f"{record.reference} {record.reference_key}" if is_relative else "",
    )


def shared_ranks(figures: Sequence[Figure]) -> list[int]:
    """Return the ranks of values that are sorted, the best first: see `ranked`."""
    ranks: list[int] = []
    best: tuple[float, float] | None = None
    for place, figure in enumerate(figures, 1):
        low, high = _interval(figure)
        if best is not None and low <= best[1] and best[0] <= high:
            ranks.append(ranks[-1])
            continue
        best = (low, high)
        ranks.append(place)
    return ranks


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


def _interval(figure: Figure) -> tuple[float, float]:
    value = figure.value or 0.0
    low, high = figure.ci or (value, value)
    return min(low, value), max(high, value)


def _value(row: Row, column: Column) -> float | None:
    figure = row.cells.get(column.key)
    return figure.value if figure else None


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("↑", " ").replace("↓", " ").split())
