"""Formats the results of a study as a Markdown table of means over training seeds, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

from benchmark.experiments.studies import Point, Study
from benchmark.experiments.study_figure import LABELS
from benchmark.stats import pooled_intervals
from benchmark.tables.columns import COLUMNS
from benchmark.tables.over_seeds import possible

FORMS = {column.key: column.form for column in COLUMNS}

SHARES = ("kept_style", "content_kept")

Column = tuple[int, str]
"""(iterations, column of the table)."""


def markdown(study: Study, points: Sequence[Point]) -> str:
    """Return the study's table as Markdown.

    If all panels show the same score, the table has one row per line of the plot (for each share of MACs) and one
    column per number of iterations. Otherwise, it has one row per line and number of iterations, and one column per
    panel.

    Two seeds are too few to estimate the variance of a single line, so all lines of a column share one variance
    (`pooled_intervals`). For FID, intervals are computed for the logarithm, because its standard deviation is
    proportional to its value.
    """
    keys = list(dict.fromkeys(key for key, _ in study.panels))
    shares = list(dict.fromkeys(macs for _, macs in study.panels))
    counts = sorted({point.iterations for point in points})
    lines = list(dict.fromkeys(point.line for point in points))
    rows: list[list[str]] = []
    if len(keys) == 1:
        header = ["MACs", "", *(f"{LABELS[keys[0]]} after {count} iterations" for count in counts)]
        for macs in shares:
            columns = [_column(points, lines, macs, (count, keys[0])) for count in counts]
            rows += [[f"{macs:.0%}", *row] for row in zip(lines, *columns, strict=True) if any(row[1:])]
    else:
        header = ["", "iterations", *(LABELS[key] for key in keys)]
        for count in counts:
            columns = [_column(points, lines, shares[0], (count, key)) for key in keys]
            rows += [[row[0], str(count), *row[1:]] for row in zip(lines, *columns, strict=True) if any(row[1:])]
    seeds = sorted({point.seed for point in points})
    note = f"Training seeds {', '.join(map(str, seeds))}: means"
    if len(seeds) > 1:
        note += ", and Student's 95 % interval over seeds, with one spread for all rows of a column at the same MACs"
    marks = ["---" if k < 2 else "---:" for k in range(len(header))]
    return "\n".join([study.title, "", *(f"| {' | '.join(row)} |" for row in (header, marks, *rows)), "", f"{note}."])


def _column(points: Sequence[Point], lines: Sequence[str], macs: float, column: Column) -> list[str]:
    """Return the cell of each line; empty for a line without a record."""
    iterations, key = column
    column_points = [p for p in points if (p.macs, p.iterations) == (macs, iterations) and key in p.values]
    values_by_line = {line: [p.values[key] for p in column_points if p.line == line] for line in lines}
    groups = [values for values in values_by_line.values() if values]
    if key == "fid":
        logs = pooled_intervals([[log(value) for value in values] for values in groups])
        intervals = logs and [(exp(low), exp(high)) for low, high in logs]
    else:
        intervals = pooled_intervals(groups)
    limits = dict(zip((line for line in lines if values_by_line[line]), intervals or [], strict=False))
    return [_cell(values, limits.get(line), key) if values else "" for line, values in values_by_line.items()]


def _cell(values: Sequence[float], interval: tuple[float, float] | None, key: str) -> str:
    mean = f"{sum(values) / len(values):{FORMS[key]}}" + (" (1 seed)" if len(values) == 1 else "")
    limits = possible(interval, key, "share" if key in SHARES else "")
    return mean if limits is None else f"{mean} {limits[0]:{FORMS[key]}}…{limits[1]:{FORMS[key]}}"
