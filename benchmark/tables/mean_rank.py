"""The mean rank of a row over the paper's columns, with a bootstrap interval (`bench table --rank`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.errors import UsageError
from benchmark.records.record import Record, read_scores
from benchmark.tables.columns import PAPER_COLUMNS, Column
from benchmark.tables.ranking import reasons_against
from benchmark.tables.render import header
from benchmark.tables.table import Figure, Row, Table, noted

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 1000
NORMAL = 1.959964
"""Half the width of the 95 % interval of a normal distribution with standard deviation 1."""
MEAN_RANK = Column("mean_rank", "mean rank", "artists", "mean_rank", better=False, relative=True)
NEEDED = {"clip", "cp"}
"""Columns without which a mean rank would not measure forgetting."""


def with_mean_rank(table: Table) -> tuple[Table, list[Column]]:
    """Add the column `MEAN_RANK` on the left, and return the columns that it averages over.

    In each column of the paper, the rows are ranked by value from 1, the best; equal values share the mean of their
    ranks. Rows that `reasons_against` excludes are left out of all ranks and have no mean rank.

    The 95 % interval is a bootstrap over the images of suite and captions, with the same images for all rows, so it
    covers the choice of prompts and not the training seed. Where a column is no mean over images (FID), and for means
    over training seeds, values are drawn from a normal distribution with the 95 % interval of the cell instead. The
    interval is widened to contain the mean rank if the bootstrap's does not, because ranks of resamples are closer to
    the middle.

    Raises:
        UsageError: the table lacks columns of the paper, or no row has values in all of its columns.
    """
    keys = [column.key for column in PAPER_COLUMNS]
    columns = [
        column
        for column in table.columns
        if column.key.partition("[")[0] in keys and any(_has_value(row, column) for row in table.rows)
    ]
    if not {column.key.partition("[")[0] for column in columns} >= NEEDED:
        names = ", ".join(header(column) for column in PAPER_COLUMNS)
        raise UsageError(
            f"--rank averages ranks over the paper's columns for styles ({names}), and this table of suite "
            f"'{table.suite}' has no CLIP and CP: use --sort with one of its columns."
        )
    undirected = [column for column in columns if column.better is None]
    reasons = reasons_against(table.rows, columns)
    numbers = [number for number in range(len(table.rows)) if number not in reasons]
    if undirected or not numbers:
        names = ", ".join(header(column) for column in columns)
        raise UsageError(f"--rank: no row can be ranked by all of {names}: use --sort with one of them.")
    rows = list(table.rows)
    for number, figure in zip(numbers, _mean_ranks([rows[number] for number in numbers], columns), strict=True):
        rows[number] = replace(rows[number], cells=rows[number].cells | {MEAN_RANK.key: figure})
    names = ", ".join(header(replace(column, better=None)) for column in columns)
    note = (
        f"Mean rank: over {names}, among the {len(numbers)} rows that have all of them; 1 is best. Its interval is a "
        "bootstrap over images, and uses the interval of a value that is no mean over images."
    )
    return noted(replace(table, rows=rows, columns=[MEAN_RANK, *table.columns]), note), columns


def _mean_ranks(rows: Sequence[Row], columns: Sequence[Column]) -> list[Figure]:
    """Return the mean rank of each row over the columns, with its interval."""
    import numpy as np
    from scipy.stats import rankdata

    signs = [-1.0 if column.better else 1.0 for column in columns]
    values = np.array([[row.cells[column.key].value or 0.0 for row in rows] for column in columns])
    points = np.mean([rankdata(sign * row) for sign, row in zip(signs, values, strict=True)], axis=0)
    draws = np.mean(
        [
            rankdata(sign * _draws(rows, column, number), axis=1)
            for number, (sign, column) in enumerate(zip(signs, columns, strict=True))
        ],
        axis=0,
    )
    lows, highs = np.quantile(draws, (0.025, 0.975), axis=0)
    return [
        Figure(float(point), unit="rank", ci=(float(min(low, point)), float(max(high, point))))
        for point, low, high in zip(points, lows, highs, strict=True)
    ]


def _draws(rows: Sequence[Row], column: Column, number: int) -> np.ndarray:
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


def _has_value(row: Row, column: Column) -> bool:
    figure = row.cells.get(column.key)
    return figure is not None and figure.value is not None
