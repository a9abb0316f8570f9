"""What a table is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from benchmark.json_types import JsonObject
from benchmark.records.record import Record
from benchmark.registry import unknown
from benchmark.tables.columns import Column
from benchmark.tables.select import Source


@dataclass(frozen=True)
class Figure:
    """One figure in its row and column. `n` of `of` images were scored; None for what no image has, such as cost."""

    value: float | None
    n: int | None = None
    of: int | None = None
    unit: str = ""
    back_end: str = ""
    ci: tuple[float, float] | None = None
    name: str = ""  # what the figure is about, where the column does not say it: the likeliest destination
    paper: float | None = None


@dataclass(frozen=True)
class Row:
    """One model. `record` is the first of the records that it is made of."""

    label: str
    source: Source
    record: Record
    cells: dict[str, Figure]


@dataclass(frozen=True)
class Table:
    """A table, ready to be printed."""

    number: int
    testbed: str
    suite: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str]
    paper: JsonObject | None = None  # `results/paper.json`, where asked for
    paper_only: dict[str, dict[str, float]] = field(default_factory=dict)  # the paper's rows that nothing was run for


def noted(table: Table, note: str) -> Table:
    """The table with one more note."""
    return replace(table, notes=[*table.notes, note])


def only(table: Table, keys: Sequence[str]) -> Table:
    """The table with these columns alone, in this order. UsageError for one that it does not have."""
    columns = {column.key: column for column in table.columns}
    if missing_keys := [key for key in keys if key not in columns]:
        raise unknown("column", missing_keys[0], list(columns))
    return replace(table, columns=[columns[key] for key in keys])
