"""Losses along a training: what `methods/training/loop.py` tells, small enough to be kept in a record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.json_types import CurveRow

POINTS = 100
"""Rows that are kept of each phase."""


def thinned(curve: Sequence[CurveRow], points: int = POINTS) -> list[CurveRow]:
    """The rows in their order, at most `points` of each phase: neighbours are put together, figures by their mean.

    A row that stands for several has the iteration and the FLOPs of the last.
    """
    thinned_rows: list[CurveRow] = []
    for phase in dict.fromkeys(row["phase"] for row in curve):
        rows = [row for row in curve if row["phase"] == phase]
        size = -(-len(rows) // points)
        thinned_rows += [_merged(rows[k : k + size]) for k in range(0, len(rows), size)]
    return sorted(thinned_rows, key=lambda row: row["flops"])


def _merged(rows: Sequence[CurveRow]) -> CurveRow:
    last = rows[-1]
    means = {name: _digits(row[name] for row in rows) for name in last if name not in ("phase", "iteration", "flops")}
    return {"phase": last["phase"], "iteration": last["iteration"], "flops": last["flops"], **means}


def _digits(values: Iterable[float]) -> float:
    """The mean, to six digits: records are kept in git."""
    numbers = list(values)
    return float(f"{sum(numbers) / len(numbers):.6g}")
