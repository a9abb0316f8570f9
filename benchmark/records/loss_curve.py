"""Shortens the loss curve that `methods/training/loop.py` reports, so that it is small enough for a record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.json_types import CurveRow

POINTS = 100
"""Largest number of rows per phase."""


def thinned(curve: Sequence[CurveRow], points: int = POINTS) -> list[CurveRow]:
    """Return the curve with at most `points` rows per phase, in order of FLOPs.

    Consecutive rows of a phase are merged: losses are averaged, and the iteration and the FLOPs are those of the last
    merged row.
    """
    thinned_rows: list[CurveRow] = []
    for phase in dict.fromkeys(row["phase"] for row in curve):
        rows = [row for row in curve if row["phase"] == phase]
        size = -(-len(rows) // points)
        thinned_rows += [_merged(rows[k : k + size]) for k in range(0, len(rows), size)]
    return sorted(thinned_rows, key=lambda row: row["flops"])


def _merged(rows: Sequence[CurveRow]) -> CurveRow:
    last = rows[-1]
    losses = [name for name in last if name not in ("phase", "iteration", "flops")]
    means = {name: _rounded_mean(row[name] for row in rows) for name in losses}
    return {"phase": last["phase"], "iteration": last["iteration"], "flops": last["flops"], **means}


def _rounded_mean(values: Iterable[float]) -> float:
    """Return the mean, rounded to six significant digits because records are committed to git."""
    numbers = list(values)
    return float(f"{sum(numbers) / len(numbers):.6g}")
