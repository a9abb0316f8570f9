"""A table with one row a method: means over training seeds, with intervals over them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from benchmark.records.record import REFERENCE_SEED, Record
from benchmark.stats import student_interval
from benchmark.tables.labels import told_apart
from benchmark.tables.select import targets_of
from benchmark.tables.table import Figure, Row, Table

_SEED = re.compile(r",? ?seed \d+")
_UP = (0.0, math.inf)
POSSIBLE = {
    "cp": (0.0, 100.0), "fid": _UP, "drift": _UP, "flops": _UP, "iterations": _UP, "seconds": _UP,
    "probability": (0.0, 1.0), "share": (0.0, 1.0), "% of images": (0.0, 100.0), "%": (-math.inf, 100.0),
}  # fmt: skip
"""Smallest and largest possible value of a column, or else of a unit; intervals over few seeds can exceed them."""


def over_seeds(table: Table) -> Table:
    """Fold rows that differ by training seed alone: means, Student's 95 % interval over seeds, n of all together.

    Intervals are cut off at values that the figure cannot have.

    The model that CP and CSD are relative to keeps its own row, because its scores against itself are 0 and 100.
    Columns that a seed lacks are left out of its method's row. A seed counts once; a local run replaces a committed one
    of the same seed. Models from another version of a plug-in's code, or from another checkpoint, get their own rows.
    """
    groups, repeated = groups_of(table.rows)
    rows = [_mean(group) if len(group) > 1 else group[0] for group in groups]
    notes = (
        ["A row over several seeds: means, and Student's 95 % interval over seeds."]
        if len(rows) < len(table.rows)
        else []
    )
    if repeated:
        committed = {row.source for row in repeated} <= {"reference", "both"}
        notes.append(
            "A seed that was run here and is committed as well counts once, as it was run here."
            if committed
            else "A seed that has several rows counts once, as it was scored last."
        )
    return replace(table, rows=told_apart(rows, [row.record for row in table.rows]), notes=[*notes, *table.notes])


def groups_of(rows: Sequence[Row]) -> tuple[list[list[Row]], list[Row]]:
    """Rows that differ by training seed alone, each seed once, by their first rows; and the rows that are left out."""
    rows_by_setting: dict[tuple, list[Row]] = {}
    for row in rows:
        rows_by_setting.setdefault(key_of(row.record), []).append(row)
    groups = [part for group in rows_by_setting.values() for part in _by_setting(group)]
    groups_by_seed = [once_a_seed(group) for group in groups]
    used_rows = {id(row) for group in groups_by_seed for row in group}
    return groups_by_seed, [row for row in rows if id(row) not in used_rows]


def once_a_seed(rows: Sequence[Row]) -> list[Row]:
    """Keep one row for each training seed: a local run if there is one, with most figures, scored last."""
    best = {row.record.seed: row for row in sorted(rows, key=_worth)}  # the last of a seed is the best
    return [row for row in rows if best[row.record.seed] is row]


def _by_setting(group: Sequence[Row]) -> list[list[Row]]:
    """Split rows by the settings that made them, if records name these: a user's code can change under one name."""
    settings = dict.fromkeys(row.record.setting_id for row in group)
    if len([setting for setting in settings if setting]) < 2:
        return [list(group)]
    return [[row for row in group if row.record.setting_id == setting] for setting in settings]


def _worth(row: Row) -> tuple:
    return row.source == "local", len(row.cells), str(row.record.made.get("time", ""))


def without_seed(label: str) -> str:
    """`"esd (seed 1)"` -> `"esd"`."""
    return _SEED.sub("", label).replace(" ()", "")


def folded_label(rows: Sequence[Row]) -> str:
    """`"esd"` and `"esd (seed 1)"` -> `"esd (2 seeds)"`; what tells only some of the seeds apart is left out."""
    return f"{min((without_seed(row.label) for row in rows), key=len)} ({len(rows)} seeds)"


def possible(interval: tuple[float, float] | None, key: str, unit: str = "") -> tuple[float, float] | None:
    """The part of an interval of a mean in which the mean can lie."""
    if interval is None:
        return None
    least, largest = POSSIBLE.get(key) or POSSIBLE.get(unit) or (-math.inf, math.inf)
    return max(least, interval[0]), min(largest, interval[1])


def key_of(record: Record) -> tuple:
    """Return a key that is equal for rows whose settings differ only by training seed."""
    names = ("pruning", "macs", "method", "preset", "variant", "solver", "data", "budget", "recipe", "sampler")
    reference = record.method == "distilled" and record.seed == REFERENCE_SEED
    facts = (*(getattr(record, name) for name in names), sorted(targets_of(record)), sorted(record.world.items()))
    return (*map(str, facts), reference, record.reference_key)


def _mean(rows: list[Row]) -> Row:
    cells = {}
    for key, first in rows[0].cells.items():
        figures = [row.cells[key] for row in rows if key in row.cells]
        values = [figure.value for figure in figures if figure.value is not None]
        if len(values) == len(rows):
            n, of = (_sum([getattr(figure, count_name) for figure in figures]) for count_name in ("n", "of"))
            mean = sum(values) / len(values)
            interval = possible(student_interval(values), key, first.unit)
            cells[key] = Figure(mean, n, of, first.unit, first.back_end, interval, "", first.paper)
    return Row(folded_label(rows), rows[0].source, rows[0].record, cells)


def _sum(counts: list[int | None]) -> int | None:
    present_counts = [count for count in counts if count is not None]
    return sum(present_counts) if len(present_counts) == len(counts) else None
