"""Resamples the values of a column of a table, by bootstrap over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.records.record import Record, read_scores
from benchmark.tables.columns import Column
from benchmark.tables.table import Row

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 1000
NORMAL = 1.959964
"""Half the width of the 95 % interval of a normal distribution with standard deviation 1."""


def resampled(rows: Sequence[Row], column: Column, number: int) -> np.ndarray:
    """Return resampled values of a column: float64 (resamples, rows).

    The same images of a suite are drawn in each of its columns. Values that are drawn from intervals are independent
    between rows and columns; `number` is that of the column.
    """
    import numpy as np

    scores = [_image_scores(row, column) for row in rows]
    ids = sorted(set.intersection(*(set(values) for values in scores if values))) if any(scores) else []
    paired = [len(values) == len(ids) > 1 for values in scores]
    draws = np.empty((RESAMPLES, len(rows)))
    if any(paired):
        weights = np.random.default_rng(0).multinomial(len(ids), np.full(len(ids), 1 / len(ids)), RESAMPLES) / len(ids)
        data = np.array([[values[name] for name in ids] for values, use in zip(scores, paired, strict=True) if use])
        draws[:, paired] = weights @ data.T
    rng = np.random.default_rng((1, number))
    for place, row in enumerate(rows):
        if not paired[place]:
            figure = row.cells[column.key]
            low, high = figure.ci or (0.0, 0.0)
            draws[:, place] = rng.normal(figure.value or 0.0, (high - low) / (2 * NORMAL), RESAMPLES)
    return np.round(draws, 9)  # equal values stay equal


def _image_scores(row: Row, column: Column) -> dict[str, float]:
    """Return the scores of single images by prompt id, if their mean is the row's value; otherwise an empty dict."""
    records: Sequence[Record] = row.models[0] if len(row.models) == 1 else ()
    record = next((r for r in records if r.suite == column.suite and r.scores is not None), None)
    if record is None:
        return {}
    table = read_scores(record)
    if column.cell not in table.column_names:
        return {}
    pairs = zip(table["id"].to_pylist(), table[column.cell].to_pylist(), strict=True)
    scores = {name: value for name, value in pairs if value is not None}
    value = row.cells[column.key].value
    if not scores or value is None:
        return {}
    mean = sum(scores.values()) / len(scores)
    return scores if abs(mean - value) <= 1e-4 * max(1.0, abs(value)) else {}
