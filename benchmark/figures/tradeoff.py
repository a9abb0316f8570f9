"""`bench figure tradeoff`: plots each method as a curve over erasure strengths instead of a single point."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import registry
from benchmark.errors import DataError, UsageError
from benchmark.records.record import Record
from benchmark.store import durable
from benchmark.tables.over_seeds import once_a_seed
from benchmark.tables.table import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


ACROSS = "target_style"
"""Column of the horizontal axis."""
PANELS = {
    "drift": "drift of kept artists ↓",
    "fid": "FID of plain captions ↓",
    "kept_style": "style of kept artists ↑",
    "neighbour_style": "style of neighbours ↑",
    "content_target": "content on target prompts ↑",
    "content_kept": "content on kept prompts ↑",
}
"""Titles of the panels, by column of `bench table --long`. These columns show what erasure costs."""
COLOURS = [f"C{k}" for k in range(10) if k != 7] + ["navy", "gold", "teal", "crimson", "darkgreen", "peru"]
"""Colours of methods; grey is reserved for models that erase nothing."""
LEVEL = 0.2
"""Target-style probability at which methods are compared, by interpolation along their curves."""


@dataclass(frozen=True)
class Point:
    """A setting of a method, with the mean and the smallest and largest value over training seeds for each column."""

    line: str
    strength: str
    seeds: int
    means: dict[str, float]
    ranges: dict[str, tuple[float, float]]


def points(table: Table) -> list[Point]:
    """Return the rows of a table as points. Rows that differ only by training seed become one point.

    Raises:
        DataError: no row has a value of `ACROSS`.
    """
    lines: dict[tuple[str, str], list[Row]] = {}
    additions: dict[str, set[str]] = {}
    for row in table.rows:
        additions.setdefault(_line_and_strength(row)[0], set()).add(_label_addition(row))
    for row in table.rows:
        line, strength = _line_and_strength(row)
        addition = _label_addition(row) if len(additions[line]) > 1 else ""
        lines.setdefault((line + addition, strength), []).append(row)
    groups: dict[tuple[str, str], list[dict[str, float]]] = {}
    for setting, seed_rows in lines.items():
        for row in once_a_seed(seed_rows):
            cells = {key: row.cells[key].value for key in (ACROSS, *PANELS) if key in row.cells}
            values = {key: value for key, value in cells.items() if value is not None}
            if ACROSS in values:
                groups.setdefault(setting, []).append(values)
    if not groups:
        raise DataError(
            f"No record of suite '{table.suite}' on testbed '{table.testbed}' has a target style to plot: "
            "run a method on this suite."
        )
    result = []
    for (line, strength), rows in groups.items():
        keys = [key for key in rows[0] if all(key in row for row in rows)]
        columns = {key: [row[key] for row in rows] for key in keys}
        means = {key: sum(column) / len(column) for key, column in columns.items()}
        result.append(Point(line, strength, len(rows), means, {k: (min(c), max(c)) for k, c in columns.items()}))
    return sorted(result, key=lambda point: (point.line, point.means[ACROSS]))


def at_level(line: Sequence[Point], level: float = LEVEL) -> dict[str, float] | None:
    """Return a method's values at the target-style probability `level`, interpolated between its nearest settings.

    The interpolation is linear. None if all settings are above or all are below the level; nothing is extrapolated.
    """
    ordered = sorted(line, key=lambda point: point.means[ACROSS])
    for low, high in pairwise(ordered):
        below, above = low.means[ACROSS], high.means[ACROSS]
        if below <= level <= above:
            share = (level - below) / (above - below) if above > below else 0.0
            return {key: (1 - share) * low.means[key] + share * high.means[key] for key in PANELS if key in low.means}
    return None


def by_line(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Group points by the name of their line."""
    return {name: [p for p in points if p.line == name] for name in dict.fromkeys(p.line for p in points)}


def write(table: Table, out: Path) -> list[Path]:
    """Write the plot `out` (.png, .svg or .pdf) and a CSV file of its numbers with the same stem; return both paths."""
    header, rows = numbers(points(table))
    return [save(draw(table), out), durable.write_csv(out.with_suffix(".csv"), header, rows)]


def draw(table: Table) -> Figure:
    """Draw one panel per kind of damage, with one curve per method.

    Raises:
        DataError: no row has a target style, or no row has a kind of damage.
    """
    from matplotlib.figure import Figure

    settings = points(table)
    panels = {key: title for key, title in PANELS.items() if any(key in point.means for point in settings)}
    if not panels:
        raise DataError(
            f"No record of suite '{table.suite}' on testbed '{table.testbed}' has a value to plot against the target "
            "style: run a method on this suite again."
        )
    lines = by_line(settings)
    figure = Figure(figsize=(11, 6.6 + 0.1 * len(lines)), layout="constrained")
    axes = figure.subplots(2, -(-len(panels) // 2), sharex=True, squeeze=False)
    for number, (line, line_points) in enumerate(lines.items()):
        for axis, (key, title) in zip(axes.flat, panels.items(), strict=False):
            _draw(axis, [point for point in line_points if key in point.means], key, line, number)
            axis.set_title(title, fontsize=10)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis in axes.flat[: len(panels)]:
        axis.axvline(LEVEL, color="0.8", linewidth=1, zorder=0)
        axis.grid(alpha=0.25)
    for axis in axes[1]:
        axis.set_xlabel("style of the targets (left is forgotten)")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    columns = 5 if max(map(len, labels)) < 30 else 2
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    figure.suptitle(
        f"What forgetting costs: {table.suite} on {table.testbed}{limit_words(table.rows[0].record)}, "
        "one curve per method"
    )
    return figure


def limit_words(record: Record) -> str:
    """Return the words of a title for records of runs with `--limit`; empty for a full run."""
    limit = record.sampler.get("limit")
    return "" if limit is None else f", {limit} prompts of each group (--limit {limit})"


def save(figure: Any, out: Path) -> Path:
    """Write a matplotlib figure atomically, in the format of the suffix of `out`, and return `out`."""
    image = io.BytesIO()
    try:
        figure.savefig(image, format=out.suffix.lstrip(".") or "png", dpi=140, metadata={})
    except ValueError as error:
        raise UsageError(f"--out {out.name} must end in .png, .svg or .pdf.") from error
    durable.write_bytes(out, image.getvalue())
    return out


def _line_and_strength(row: Row) -> tuple[str, str]:
    """Return the line of a row and its strength; the line is defined by all settings except the method's `strength`."""
    record = row.record
    try:
        strength = registry.declared("methods", record.method, "strength", "")
    except UsageError:  # a record of a method that is not installed
        strength = ""
    settings = [word for word in record.variant.split(",") if word != "default"]
    strength_words = [word for word in settings if strength and word.startswith(f"{strength}=")]
    words = [record.preset, *(word for word in settings if word not in strength_words)]
    details = ", ".join(word for word in words if word not in ("", "default"))
    return f"{record.method} ({details})" if details else record.method, strength_words[
        0
    ] if strength_words else "default"


def _label_addition(row: Row) -> str:
    """Return what was added to a row's label to make it unique, such as targets, budget or version.

    Rows with different additions differ by more than their training seed.
    """
    return "".join(row.label.partition(" · ")[1:])


def _draw(axis: Axes, line: Sequence[Point], key: str, name: str, number: int) -> None:
    x, y = ([point.means[what] for point in line] for what in (ACROSS, key))
    colour = COLOURS[number % len(COLOURS)]
    single = name in ("base", "distilled")
    mark = {"base": "s", "distilled": "D"}.get(name, "o-")
    colour = "0.3" if single else colour
    axis.plot(x, y, mark, color=colour, label=name, markersize=5, linewidth=1.4)
    for point in line:
        if point.strength == "default" and not single:
            axis.plot(point.means[ACROSS], point.means[key], "*", color=colour, markersize=13)
        if point.seeds > 1:
            axis.vlines(point.means[ACROSS], *point.ranges[key], color=colour, linewidth=1)
            axis.hlines(point.means[key], *point.ranges[ACROSS], color=colour, linewidth=1)


def numbers(points: Sequence[Point]) -> tuple[list[str], list[list[object]]]:
    """Return the header and the rows of the plotted numbers, with those interpolated at `LEVEL`."""
    keys = [ACROSS, *PANELS]
    rows: list[list[object]] = []
    for name, line in by_line(points).items():
        for point in line:
            rows.append([name, point.strength, point.seeds, *(_cell(point.means.get(key)) for key in keys)])
        if level := at_level(line):
            rows.append([name, f"at target style {LEVEL:g}", "", LEVEL, *(_cell(level.get(key)) for key in PANELS)])
    return ["method", "strength", "seeds", *keys], rows


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
