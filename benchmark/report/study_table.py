"""A study's figures as a Markdown table: means over training seeds, with Student's 95 % interval over them."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.columns import COLUMNS
from benchmark.over_seeds import possible
from benchmark.report.study import LABELS
from benchmark.stats import student_interval
from benchmark.studies import Point, Study

FORMS = {column.key: column.form for column in COLUMNS}

SHARES = ("kept_style", "content_kept")


def markdown(study: Study, points: Sequence[Point]) -> str:
    """A row each choice, and a column each number of iterations; or, where several figures are asked, a column each."""
    keys = list(dict.fromkeys(key for key, _ in study.panels))
    shares = list(dict.fromkeys(macs for _, macs in study.panels))
    counts = sorted({point.iterations for point in points})
    lines = list(dict.fromkeys(point.line for point in points))
    rows: list[list[str]] = []
    if len(keys) == 1:
        header = ["MACs", "", *(f"{LABELS[keys[0]]} after {count} iterations" for count in counts)]
        for macs in shares:
            for line in lines:
                cells = [_cell(points, line, macs, count, keys[0]) for count in counts]
                rows += [[f"{macs:.0%}", line, *cells]] if any(cells) else []
    else:
        header = ["", "iterations", *(LABELS[key] for key in keys)]
        for count in counts:
            for line in lines:
                cells = [_cell(points, line, shares[0], count, key) for key in keys]
                rows += [[line, str(count), *cells]] if any(cells) else []
    seeds = sorted({point.seed for point in points})
    told = f"Training seeds {', '.join(map(str, seeds))}: means, and Student's 95 % interval over seeds."
    marks = ["---" if k < 2 else "---:" for k in range(len(header))]
    return "\n".join([study.title, "", *(f"| {' | '.join(row)} |" for row in (header, marks, *rows)), "", told])


def _cell(points: Sequence[Point], line: str, macs: float, iterations: int, key: str) -> str:
    place = (line, macs, iterations)
    lying = [p for p in points if (p.line, p.macs, p.iterations) == place and key in p.values]
    values = [point.values[key] for point in lying]
    if not values:
        return ""
    told = f"{sum(values) / len(values):{FORMS[key]}}"
    interval = possible(student_interval(values), key, "share" if key in SHARES else "")
    if interval is None:
        return f"{told} (1 seed)"
    return f"{told} {interval[0]:{FORMS[key]}}…{interval[1]:{FORMS[key]}}"
