"""Plots of studies, such as Figures 4 and 5 of the paper: values over iterations of distillation, and a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.experiments.studies import Point, Study
from benchmark.figures.axes import use_log_scale
from benchmark.figures.tradeoff import save
from benchmark.store import durable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


LABELS = {
    "fid": "FID ↓",
    "kid": "KID ↓",
    "coco_clip": "CLIP ↑",
    "kept_style": "style of kept artists ↑",
    "content_kept": "content on kept prompts ↑",
}


def write(study: Study, points: Sequence[Point], out: Path) -> list[Path]:
    """Write the plot `out` (.png) and a CSV file of its numbers with the same stem, and return both paths.

    Lines show means over training seeds, and bands show the smallest and largest value.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.2 + 4.2 * len(study.panels), 4.6), layout="constrained")
    axes = figure.subplots(1, len(study.panels), squeeze=False)[0]
    lines = list(dict.fromkeys(point.line for point in sorted(points, key=lambda point: point.line)))
    for axis, (key, macs) in zip(axes, study.panels, strict=True):
        for number, line in enumerate(lines):
            _draw(axis, [p for p in points if p.line == line and p.macs == macs and key in p.values], key, number)
        axis.set_title(f"{LABELS[key]} at {macs:.0%} of MACs", fontsize=10)
        axis.set_xlabel("iterations of distillation")
        axis.grid(alpha=0.25)
        if key == "fid" and axis.lines:  # KID has a linear axis, because unbiased estimates can be negative
            use_log_scale(axis)
    handles = {str(line.get_label()): line for axis in axes for line in axis.lines}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(5, len(handles)))
    figure.suptitle(study.title)
    return [save(figure, out), _write_csv(points, out.with_suffix(".csv"))]


def _draw(axis: Axes, points: Sequence[Point], key: str, number: int) -> None:
    if not points:
        return
    values: dict[int, list[float]] = {}  # by iterations
    for point in points:
        values.setdefault(point.iterations, []).append(point.values[key])
    x = sorted(values)
    means = [sum(values[k]) / len(values[k]) for k in x]
    axis.plot(x, means, "o-", color=f"C{number}", label=points[0].line, markersize=4, linewidth=1.4)
    lows, highs = [min(values[k]) for k in x], [max(values[k]) for k in x]
    axis.fill_between(x, lows, highs, color=f"C{number}", alpha=0.15, linewidth=0)


def _write_csv(points: Sequence[Point], path: Path) -> Path:
    keys = sorted({key for point in points for key in point.values})
    rows: list[list[object]] = []
    for point in points:
        values = [f"{point.values[key]:.5g}" if key in point.values else "" for key in keys]
        rows.append([point.line, point.pruning, point.macs, point.iterations, point.seed, *values])
    return durable.write_csv(path, ["line", "pruning", "macs", "iterations", "seed", *keys], rows)
