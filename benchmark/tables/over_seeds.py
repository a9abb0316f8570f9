"""A table with one row a method: means over training seeds, with intervals over them."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from benchmark.records.record import Record
from benchmark.stats import student_interval
from benchmark.tables.select import targets_of
from benchmark.tables.table import Figure, Row, Table

REFERENCE_SEED = 0
_SEED = re.compile(r",? ?seed \d+")
_UP = (0.0, math.inf)
POSSIBLE = {
    "cp": (0.0, 100.0), "fid": _UP, "drift": _UP, "flops": _UP, "iterations": _UP, "seconds": _UP,
    "probability": (0.0, 1.0), "share": (0.0, 1.0), "% of images": (0.0, 100.0), "%": (-math.inf, 100.0),
}  # fmt: skip
"""Least and largest of what a column, or else a unit, can hold. Few seeds have intervals that reach beyond it."""


def over_seeds(table: Table) -> Table:
    """Fold rows that differ by training seed alone: means, Student's 95 % interval over seeds, n of all together.

    An interval ends where the figure cannot go further.

    The model that CP and CSD are relative to stays by itself: against itself it has 0 and 100. Columns that a seed
    lacks are left out of its method's row. A seed counts once: where a run of one's own differs from the committed one
    of the same seed, one's own.
    """
    groups: dict[tuple, list[Row]] = {}
    for row in table.rows:
        groups.setdefault(_key(row.record), []).append(row)
    for key, group in groups.items():
        mine = {row.record.seed for row in group if row.source == "local"}
        groups[key] = [row for row in group if row.source == "local" or row.record.seed not in mine]
    rows = [_mean(group) if len(group) > 1 else group[0] for group in groups.values()]
    notes = (
        ["A row over several seeds: means, and Student's 95 % interval over seeds."]
        if len(rows) < len(table.rows)
        else []
    )
    if sum(map(len, groups.values())) < len(table.rows):
        notes.append("A seed that was run here and is committed as well counts once, as it was run here.")
    return replace(table, rows=rows, notes=[*notes, *table.notes])


def without_seed(label: str) -> str:
    """`"esd (seed 1)"` -> `"esd"`."""
    return _SEED.sub("", label).replace(" ()", "")


def possible(interval: tuple[float, float] | None, key: str, unit: str = "") -> tuple[float, float] | None:
    """The part of an interval of a mean in which the mean can lie."""
    if interval is None:
        return None
    least, largest = POSSIBLE.get(key) or POSSIBLE.get(unit) or (-math.inf, math.inf)
    return max(least, interval[0]), min(largest, interval[1])


def _key(record: Record) -> tuple:
    names = ("pruning", "macs", "method", "preset", "variant", "solver", "data", "budget", "recipe", "sampler")
    reference = record.method == "distilled" and record.seed == REFERENCE_SEED
    compared = record.reference_key if record.method == "base" else ""
    world = [record.world.get(key) for key in ("weights", "data", "real")]
    told = (*(getattr(record, name) for name in names), sorted(targets_of(record)), world)
    return (*map(str, told), reference, compared)


def _mean(rows: list[Row]) -> Row:
    cells = {}
    for key, first in rows[0].cells.items():
        figures = [row.cells[key] for row in rows if key in row.cells]
        values = [figure.value for figure in figures if figure.value is not None]
        if len(values) == len(rows):
            n, of = (_sum([getattr(figure, what) for figure in figures]) for what in ("n", "of"))
            mean = sum(values) / len(values)
            interval = possible(student_interval(values), key, first.unit)
            cells[key] = Figure(mean, n, of, first.unit, first.back_end, interval, "", first.paper)
    return Row(f"{without_seed(rows[0].label)} ({len(rows)} seeds)", rows[0].source, rows[0].record, cells)


def _sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
