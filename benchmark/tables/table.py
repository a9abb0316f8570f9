"""Data classes for tables: a table has rows, and a row has one cell per column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from benchmark.json_types import JsonObject
from benchmark.records.record import Record
from benchmark.registry import unknown
from benchmark.tables.columns import Column, compares_with_reference
from benchmark.tables.contents import ContentCheck, note_lost_contents
from benchmark.tables.select import Source


@dataclass(frozen=True)
class Figure:
    """The content of one cell of a table.

    `n` of `of` images were scored; both are None for values that do not come from images, such as costs.
    """

    value: float | None
    n: int | None = None
    of: int | None = None
    unit: str = ""
    back_end: str = ""
    ci: tuple[float, float] | None = None
    name: str = ""  # text to show with the value, e.g. the most frequent destination or the counts behind a share
    paper: float | None = None  # the paper's value for this cell


@dataclass(frozen=True)
class Row:
    """The row of one model, or of several that differ by training seed. `record` is the first of its records."""

    label: str
    source: Source
    record: Record
    cells: dict[str, Figure]
    models: tuple[tuple[Record, ...], ...] = ()  # for each model of the row, its records, one per suite
    contents: ContentCheck | None = None  # whether it still draws the requested objects; None: nothing to compare with
    rank: int | None = None  # place in a table with `ranked_by`; None for a row that is not ranked

    @property
    def lost_contents(self) -> bool:
        """Whether its images show the requested object much less often than those of its reference model."""
        return self.contents is not None and bool(self.contents.lost)


@dataclass(frozen=True)
class Table:
    """A table with all values and notes that are printed."""

    number: int
    testbed: str
    suite: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str]
    paper: JsonObject | None = None  # content of `results/paper.json`, if the paper's values are shown
    paper_only: dict[str, dict[str, float]] = field(default_factory=dict)  # the paper's rows that have no record
    reference_notes: frozenset[str] = frozenset()  # notes that only hold for columns relative to a reference
    ranked_by: str = ""  # key of the column that rows are ranked by; empty for rows in the usual order


def all_notes(table: Table) -> list[str]:
    """Return the notes of a table, with the footnote on rows that lost contents."""
    return [*table.notes, *note_lost_contents([(row.label, row.contents) for row in table.rows])]


def half_width(interval: tuple[float, float] | None) -> float | None:
    """Return half the width of an interval; None if there is no interval."""
    return None if interval is None else (interval[1] - interval[0]) / 2


ASYMMETRY = 0.2
"""An interval is asymmetric if its value is farther from its centre than this share of its width."""


def is_asymmetric(value: float | None, interval: tuple[float, float] | None) -> bool:
    """Return whether a value lies so far from the centre of its interval that "±" would be misleading."""
    if value is None or interval is None:
        return False
    low, high = interval
    return abs(value - (low + high) / 2) > ASYMMETRY * (high - low)


def spread_text(value: float | None, interval: tuple[float, float] | None, form: str) -> str:
    """Return an interval beside its value: "±2.10", or "0.00…56.15" if it is asymmetric; empty for None.

    `form` is the format of numbers, such as ".2f".
    """
    if interval is None:
        return ""
    low, high = (f"{end:{form}}" for end in interval)
    return f"{low}…{high}" if is_asymmetric(value, interval) and low != high else f"±{half_width(interval):{form}}"


def noted(table: Table, note: str) -> Table:
    """Return the table with `note` added."""
    return replace(table, notes=[*table.notes, note])


def only(table: Table, keys: Sequence[str]) -> Table:
    """Return the table with only the columns `keys`, in that order.

    Notes on the reference model are left out unless one of these columns is relative to it.

    Raises:
        UsageError: the table has no column of that key.
    """
    columns = {column.key: column for column in table.columns}
    if missing_keys := [key for key in keys if key not in columns]:
        raise unknown("column", missing_keys[0], list(columns))
    shown_columns = [columns[key] for key in keys]
    notes = table.notes
    if not any(map(compares_with_reference, shown_columns)):
        notes = [note for note in notes if note not in table.reference_notes]
    return replace(table, columns=shown_columns, notes=notes)
