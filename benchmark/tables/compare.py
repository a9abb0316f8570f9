"""Two methods side by side, unit by unit: `bench compare`. No torch is imported.

A unit is one set of targets with one training seed. All units of a comparison have one setting: pruning, share of MACs,
budget, data, sampler and world. Differences are paired within units, and what a claim may cover follows from how many
there are: over several units it covers new targets and new trainings; within a single one only new prompts to the same
two models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from benchmark.api.request import RunRequest
from benchmark.errors import DataError, UsageError
from benchmark.records.record import Record, read_scores
from benchmark.stats import bootstrap_interval, mcnemar, sign_flip, student_interval
from benchmark.tables.columns import COLUMNS, Column
from benchmark.tables.select import BESIDE, Found, current, joined, targets_of

RELATIVE = ("cp", "csd", "resilience")
"""Columns that are relative to a reference model, and so only comparable where it is the same."""


@dataclass(frozen=True)
class Contrast:
    """One column: the means of both sides over the units, their difference (left - right), and how sure it is."""

    column: Column
    left: float
    right: float
    difference: float
    ci: tuple[float, float] | None
    p: float | None
    n: int
    over: Literal["units", "prompts"]
    test: str


@dataclass(frozen=True)
class Comparison:
    """All columns that both sides have."""

    testbed: str
    suite: str
    left: str
    right: str
    units: list[str]
    contrasts: list[Contrast]
    notes: list[str]


@dataclass(frozen=True)
class _Model:
    """The records of one trained model by suite."""

    records: dict[str, Record]

    def cell(self, column: Column) -> float | None:
        record = self.records.get(column.suite)
        found = [c for name, c in record.cells.items() if name.partition("[")[0] == column.cell] if record else []
        return found[0].value if len(found) == 1 else None


def compare(
    found: Iterable[Found],
    testbed: str,
    suite: str,
    left: str,
    right: str,
    *,
    long: bool = False,
    pruning: str = "",
    macs: float | None = None,
) -> Comparison:
    """Compare two rows of a table, named by method or, for another preset or setting, by the row's label.

    Of several settings in which both were run it is the default one, or the one with most units; `pruning` and `macs`
    ask for another. What is left out is counted in a note.
    Raises DataError if a side has no record, or the two have no unit in common.
    """
    suites = [suite] + ([BESIDE[suite]] if suite in BESIDE else [])
    here = current([each for each in found if each[0].testbed == testbed and each[0].suite in suites])
    models = [_Model({record.suite: record for record in group}) for group, _ in joined(here, suites)]
    sides = [_units(models, suite, name) for name in (left, right)]
    for name, side in zip((left, right), sides, strict=True):
        if not side:
            known = sorted({m.records[suite].label for m in models if suite in m.records})
            raise DataError(
                f"There is no record of '{name}' in suite '{suite}' on testbed '{testbed}'. There are: "
                f"{', '.join(known) or 'none'}."
            )
    common = sides[0].keys() & sides[1].keys()
    chosen = [unit for unit in common if pruning in ("", unit[2].pruning) and macs in (None, unit[2].macs)]
    if not chosen:
        asked = f" with {' '.join(filter(None, (pruning, '' if macs is None else f'{macs:g}')))}"
        raise DataError(
            f"'{left}' and '{right}' share no targets, seed, pruning, data and budget"
            f"{asked if pruning or macs else ''}: run both with the same."
        )
    settings = [unit[2] for unit in chosen]
    setting = max(settings, key=lambda each: (each.usual, settings.count(each), each))
    shared = sorted(unit for unit in chosen if unit[2] == setting)
    pairs = [(sides[0][unit], sides[1][unit]) for unit in shared]
    contrasts, notes = [], []
    for column in (c for c in COLUMNS if long or not c.section):
        apart = [a.records[suite].reference_key != b.records[suite].reference_key for a, b in pairs]
        if (contrast := _contrast(column, pairs)) is None:
            continue
        if column.cell in RELATIVE and any(apart):
            notes.append(f"{column.header} is left out: the two sides were compared with different references.")
        else:
            contrasts.append(contrast)
    return Comparison(
        testbed,
        suite,
        left,
        right,
        [_named(unit) for unit in shared],
        contrasts,
        notes + _notes(len(pairs), len({unit[0] for unit in shared})) + _beside(setting, len(common) - len(shared)),
    )


def only(comparison: Comparison, keys: Sequence[str]) -> Comparison:
    """The comparison of these columns alone, in this order. UsageError for one that was not compared."""
    known = {contrast.column.key: contrast for contrast in comparison.contrasts}
    if strange := [key for key in keys if key not in known]:
        raise UsageError(f"Column '{strange[0]}' was not compared; there are: {', '.join(known)}.")
    return replace(comparison, contrasts=[known[key] for key in keys])


class Setting(NamedTuple):
    """All that must be equal beside targets and training seed."""

    usual: bool
    """The default pruning, share of MACs and budget, and fp32."""
    pruning: str
    macs: float
    else_equal: str


Unit = tuple[str, int, Setting]
"""Targets, training seed, and the setting."""


def _units(models: Sequence[_Model], suite: str, name: str) -> dict[Unit, _Model]:
    """Models of a side by unit; of several records of one unit the last, which is the user's own."""
    mine = [m for m in models if suite in m.records]
    labelled = [m for m in mine if _unseeded(m.records[suite]) == name]
    named = [m for m in mine if m.records[suite].method == name and m.records[suite].variant == "default"]
    presets = {m.records[suite].preset for m in named}
    usual = "default" if "default" in presets or len(presets) > 1 else "".join(presets)  # a testbed may have its own
    return {_unit(m.records[suite]): m for m in (labelled or [m for m in named if m.records[suite].preset == usual])}


def _unseeded(record: Record) -> str:
    """The row's label without its seed: seeds are units here."""
    return record.label.replace(f", seed {record.seed})", ")").replace(f" (seed {record.seed})", "")


def _unit(record: Record) -> Unit:
    pruning, macs = ("none", 1.0) if record.method == "base" else (record.pruning, record.macs)
    usual = (pruning, macs) == (RunRequest.pruning, RunRequest.macs) and record.budget.get("default") is not False
    usual = usual and "precision" not in record.sampler
    same = json.dumps([record.data, record.budget, record.sampler, record.world], sort_keys=True)
    return ", ".join(sorted(targets_of(record))), record.seed, Setting(usual, pruning, macs, same)


def _named(unit: Unit) -> str:
    return f"{unit[0]} (seed {unit[1]})" if unit[0] else f"seed {unit[1]}"


def _contrast(column: Column, pairs: Sequence[tuple[_Model, _Model]]) -> Contrast | None:
    """Over the pairs that have the figure on both sides; None where there is none."""
    told = [(a.cell(column), b.cell(column), (a, b)) for a, b in pairs]
    full = [(one, other) for one, other, _ in told if one is not None and other is not None]
    pairs = [pair for one, other, pair in told if one is not None and other is not None]
    if not full:
        return None
    left, right = (sum(side) / len(full) for side in zip(*full, strict=True))
    if len(full) > 1:
        differences = [a - b for a, b in full]
        interval, p = student_interval(differences), sign_flip(differences)
        return Contrast(column, left, right, left - right, interval, p, len(full), "units", "sign flip")
    ours, theirs = _per_prompt(column, *pairs[0])
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    if not differences:
        return Contrast(column, left, right, left - right, None, None, 1, "units", "")
    if column.cell in ("cp", "explicit"):
        p, test = mcnemar(ours, theirs), "McNemar"
    else:
        p, test = sign_flip(differences), "sign flip"
    interval = bootstrap_interval(differences)
    return Contrast(column, left, right, left - right, interval, p, len(differences), "prompts", test)


def _per_prompt(column: Column, left: _Model, right: _Model) -> tuple[list[float], list[float]]:
    """Values of the prompts that both sides have; none where the figure is not a mean over prompts."""
    tables = [read_scores(model.records[column.suite]) for model in (left, right)]
    if any(column.cell not in table.column_names for table in tables):
        return [], []
    sides = [dict(zip(t["id"].to_pylist(), t[column.cell].to_pylist(), strict=True)) for t in tables]
    ids = [key for key, value in sides[0].items() if value is not None and sides[1].get(key) is not None]
    return [sides[0][key] for key in ids], [sides[1][key] for key in ids]


def _beside(setting: Setting, more: int) -> list[str]:
    """In which setting it is, where that is not the default one, and how many units have another."""
    told = [] if setting.usual else [f"Both sides: {setting.pruning}, {setting.macs:.0%} of MACs."]
    if more:
        units = "1 more unit has" if more == 1 else f"{more} more units have"
        told.append(f"{units} another pruning, budget, data, sampler or world: --pruning and --macs choose.")
    return told


def _notes(units: int, target_sets: int) -> list[str]:
    if units == 1:
        return [
            "One unit: intervals and p are over prompts, and say nothing about other trainings or other targets.",
            "FID and KID have no test here: they are not means over prompts.",
        ]
    notes = [f"{units} units (targets x training seed): intervals (Student's t) and p are over units."]
    if target_sets < units:
        sets = "one set of targets" if target_sets == 1 else f"{target_sets} sets of targets"
        notes.append(f"They share {sets}: about other targets they say less than so many independent units would.")
    if units < 6:
        notes.append(f"With {units} units the sign-flip test cannot go below p = {2 / 2**units:.3g}.")
    return notes
