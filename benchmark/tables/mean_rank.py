"""The mean rank of a row over the paper's columns, with a bootstrap interval (`bench table --rank`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmark.errors import UsageError
from benchmark.tables.columns import PAPER_COLUMNS, Column
from benchmark.tables.rank_rules import reasons_against, value_in
from benchmark.tables.render import header
from benchmark.tables.resampling import resampled
from benchmark.tables.table import Figure, Row, Table, noted

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
        if column.key.partition("[")[0] in keys and any(value_in(row, column) is not None for row in table.rows)
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
            rankdata(sign * resampled(rows, column, number), axis=1)
            for number, (sign, column) in enumerate(zip(signs, columns, strict=True))
        ],
        axis=0,
    )
    lows, highs = np.quantile(draws, (0.025, 0.975), axis=0)
    return [
        Figure(float(point), unit="rank", ci=(float(min(low, point)), float(max(high, point))))
        for point, low, high in zip(points, lows, highs, strict=True)
    ]
