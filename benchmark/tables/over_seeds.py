"""Averages the rows of a table over training seeds, so that each method has one row."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from benchmark.records.record import REFERENCE_SEED, Record
from benchmark.stats import student_interval
from benchmark.tables.contents import mean_check
from benchmark.tables.footnotes import Note
from benchmark.tables.labels import told_apart
from benchmark.tables.select import targets_of
from benchmark.tables.table import Figure, Row, Table

_SEED = re.compile(r",? ?seed \d+")
_NOT_NEGATIVE = (0.0, math.inf)
POSSIBLE = {
    "cp": (0.0, 100.0), "fid": _NOT_NEGATIVE, "drift": _NOT_NEGATIVE, "flops": _NOT_NEGATIVE,
    "iterations": _NOT_NEGATIVE, "seconds": _NOT_NEGATIVE,
    "probability": (0.0, 1.0), "share": (0.0, 1.0), "% of images": (0.0, 100.0), "%": (-math.inf, 100.0),
}  # fmt: skip
"""Smallest and largest possible value, by column key or by unit. Intervals over few seeds can exceed them."""


def over_seeds(table: Table) -> Table:
    """Merge rows that differ only by training seed into one row per setting.

    A merged row has the mean of each column, Student's 95 % interval over seeds, and the summed n. Intervals are
    clipped to the possible values of a column (`POSSIBLE`). A column that is missing for one of the seeds is left out.

    The reference model of CP and CSD keeps a separate row, because its scores against itself are 0 and 100. Each seed
    is used once, and a local run replaces a committed run of the same seed. Models from different versions of a
    plug-in's code, or from different checkpoints, are not merged.
    """
    groups, repeated = groups_of(table.rows)
    rows = [_mean(group) if len(group) > 1 else group[0] for group in groups]
    notes: list[str] = []
    if len(rows) < len(table.rows):
        text = "Rows with several seeds: means over training seeds, with Student's 95 % intervals."
        notes.append(Note(text, "Rows with several seeds are means."))
    if repeated:
        committed = {row.source for row in repeated} <= {"reference", "both"}
        text = (
            "A seed that you ran and that has a committed run counts once, with your values."
            if committed
            else "A seed that has several rows counts once, with the values that were scored last."
        )
        notes.append(Note(text, "A repeated seed counts once.", 2))
    return replace(table, rows=told_apart(rows, [row.record for row in table.rows]), notes=[*notes, *table.notes])


def groups_of(rows: Sequence[Row]) -> tuple[list[list[Row]], list[Row]]:
    """Group rows that differ only by training seed, with one row per seed.

    Returns:
        The groups, in the order of their first rows, and the rows that were left out because their seed has a better
        row (see `once_a_seed`).
    """
    rows_by_setting: dict[tuple, list[Row]] = {}
    for row in rows:
        rows_by_setting.setdefault(key_of(row.record), []).append(row)
    groups = [part for group in rows_by_setting.values() for part in _split_by_setting(group)]
    groups_by_seed = [once_a_seed(group) for group in groups]
    used_rows = {id(row) for group in groups_by_seed for row in group}
    return groups_by_seed, [row for row in rows if id(row) not in used_rows]


def once_a_seed(rows: Sequence[Row]) -> list[Row]:
    """Return one row per training seed: local rows are preferred, then rows with more values, then newer rows."""
    best = {row.record.seed: row for row in sorted(rows, key=_preference)}  # the last row of each seed wins
    return [row for row in rows if best[row.record.seed] is row]


def _split_by_setting(group: Sequence[Row]) -> list[list[Row]]:
    """Split rows by the setting key in their records, because a user's code can change while its name stays the same.

    Old records have no setting key; a group is split only if at least two keys are known.
    """
    settings = dict.fromkeys(row.record.setting_id for row in group)
    if len([setting for setting in settings if setting]) < 2:
        return [list(group)]
    return [[row for row in group if row.record.setting_id == setting] for setting in settings]


def _preference(row: Row) -> tuple:
    return row.source == "local", len(row.cells), str(row.record.made.get("time", ""))


def without_seed(label: str) -> str:
    """Return a label without its seed: `"esd (seed 1)"` -> `"esd"`."""
    return _SEED.sub("", label).replace(" ()", "")


def folded_label(rows: Sequence[Row]) -> str:
    """Return the label of a merged row: `"esd"` and `"esd (seed 1)"` -> `"esd (2 seeds)"`.

    Additions that only some of the rows have are left out.
    """
    return f"{min((without_seed(row.label) for row in rows), key=len)} ({len(rows)} seeds)"


def possible(interval: tuple[float, float] | None, key: str, unit: str = "") -> tuple[float, float] | None:
    """Clip the interval of a mean to the possible values of its column `key`, or else of its `unit`."""
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
    """Merge the rows of one setting into a row of means over training seeds."""
    cells = {}
    for key, first in rows[0].cells.items():
        seed_cells = [row.cells[key] for row in rows if key in row.cells]
        values = [cell.value for cell in seed_cells if cell.value is not None]
        if len(values) == len(rows):
            n, of = (_sum([getattr(cell, count_name) for cell in seed_cells]) for count_name in ("n", "of"))
            mean = sum(values) / len(values)
            interval = possible(student_interval(values), key, first.unit)
            cells[key] = Figure(mean, n, of, first.unit, first.back_end, interval, "", first.paper)
    models = tuple(model for row in rows for model in row.models)
    contents = mean_check([row.contents for row in rows])
    return Row(folded_label(rows), rows[0].source, rows[0].record, cells, models, contents)


def _sum(counts: list[int | None]) -> int | None:
    """Return the sum of counts; None if one of them is None."""
    present_counts = [count for count in counts if count is not None]
    return sum(present_counts) if len(present_counts) == len(counts) else None
