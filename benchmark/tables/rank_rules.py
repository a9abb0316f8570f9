"""The rules of ranking: which rows of a table get a rank, and which rows share one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from benchmark.tables.columns import Column, compares_with_reference
from benchmark.tables.contents import MARK
from benchmark.tables.render import header
from benchmark.tables.select import targets_of
from benchmark.tables.table import Figure, Row


def reasons_against(rows: Sequence[Row], columns: Sequence[Column]) -> dict[int, str]:
    """Return why rows cannot be ranked by these columns, by the row's number.

    A row is not ranked if its images lost the requested objects, if it has no value in one of the columns, or if its
    values cannot be compared with those of most rows: prompts or inputs of the testbed differ, or, for columns that are
    relative to a reference model, that model differs.
    """
    reasons: dict[int, str] = {}
    keys: dict[int, tuple[str, ...]] = {}
    for number, row in enumerate(rows):
        missing = [header(replace(c, better=None)) for c in columns if value_in(row, c) is None]
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
    """Return the ranks of values that are sorted, the best first: see `ranking.ranked`."""
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


def value_in(row: Row, column: Column) -> float | None:
    """Return the value of a row in a column; None if it has none."""
    figure = row.cells.get(column.key)
    return figure.value if figure else None


def _interval(figure: Figure) -> tuple[float, float]:
    value = figure.value or 0.0
    low, high = figure.ci or (value, value)
    return min(low, value), max(high, value)
