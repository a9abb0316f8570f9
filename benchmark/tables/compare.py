"""Two methods side by side, unit by unit: `bench compare`. No torch is imported.

A unit is one set of targets with one training seed. All units of a comparison have one setting: pruning, share of MACs,
budget, data, sampler and world. Differences are paired within units, and what a claim may cover follows from how many
there are: over several units it covers new targets and new trainings; within a single one only new prompts to the same
two models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmark.errors import DataError, UsageError
from benchmark.stats import bootstrap_interval, mcnemar, sign_flip, student_interval
from benchmark.tables.columns import COLUMNS, Column
from benchmark.tables.compare_units import Model, Pair, Setting, Side, pairs_of, side_of
from benchmark.tables.select import Found

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
    """Compare two rows of a table, named by method or, for another preset or setting, by a row's label in any view.

    A label without a seed stands for all seeds. Of several settings in which both were run it is the default one, or
    the one with most units; `pruning` and `macs`
    ask for another. What is left out is counted in a note.
    Raises DataError if a side has no record, or the two have no unit in common.
    """
    found = list(found)
    sides = [side_of(found, testbed, suite, name) for name in (left, right)]
    common = pairs_of(*sides)
    chosen = [pair for pair in common if pruning in ("", pair.setting.pruning) and macs in (None, pair.setting.macs)]
    if not chosen:
        raise DataError(_nothing_shared(sides, pruning, macs))
    settings = [pair.setting for pair in chosen]
    setting = max(settings, key=lambda each: (each.usual, settings.count(each), each))
    pairs = [pair for pair in chosen if pair.setting == setting]
    contrasts, notes = [], []
    for column in (c for c in COLUMNS if long or not c.section):
        usable = pairs
        if column.cell in RELATIVE:
            usable = [pair for pair in pairs if not (pair.left.is_reference or pair.right.is_reference)]
        if _contrast(column, pairs) is None:
            continue
        if column.cell in RELATIVE and any(not pair.same_reference for pair in usable):
            notes.append(f"{column.header} is left out: the two sides were compared with different references.")
        elif contrast := _contrast(column, usable):
            contrasts.append(contrast)
        if len(usable) < len(pairs):
            notes.append(_against_itself(column, len(pairs) - len(usable), len(pairs)))
    return Comparison(
        testbed,
        suite,
        left,
        right,
        [_named(pair) for pair in pairs],
        contrasts,
        notes + _notes(len(pairs), len({pair.targets for pair in pairs})) + _beside(setting, len(common) - len(pairs)),
    )


def _nothing_shared(sides: Sequence[Side], pruning: str, macs: float | None) -> str:
    """Why there is no unit, and what can be done about it: what was made elsewhere cannot be run otherwise."""
    named = " and ".join(f"'{side.name}'" for side in sides)
    setting = " ".join(filter(None, (pruning, "" if macs is None else f"{macs:g}")))
    setting = f" with {setting}" if setting else ""
    if all(any(model.trained for model in side.models) for side in sides):
        return f"{named} share no targets, seed, pruning, data and budget{setting}: run both with the same."
    return (
        f"{named} were not asked the same prompts by the same sampler on the same testbed{setting}: score both with "
        "the same --testbed and --targets."
    )


def _against_itself(column: Column, count: int, of: int) -> str:
    """That units are left out in which a side is the reference, whose score against itself is no measurement."""
    if count == of:
        return f"{column.header} is left out: one side is the reference itself."
    units = "1 unit" if count == 1 else f"{count} units"
    return f"{column.header} leaves out {units} of {of}, in which one side is the reference itself."


def only(comparison: Comparison, keys: Sequence[str]) -> Comparison:
    """The comparison of these columns alone, in this order. UsageError for one that was not compared."""
    known = {contrast.column.key: contrast for contrast in comparison.contrasts}
    if strange := [key for key in keys if key not in known]:
        raise UsageError(f"Column '{strange[0]}' was not compared; there are: {', '.join(known)}.")
    return replace(comparison, contrasts=[known[key] for key in keys])


def _named(pair: Pair) -> str:
    return f"{pair.targets} (seed {pair.seeds})" if pair.targets else f"seed {pair.seeds}"


def _contrast(column: Column, units: Sequence[Pair]) -> Contrast | None:
    """Over the pairs that have the figure on both sides; None where there is none."""
    figures = [
        (unit.left.cell(column, unit.right), unit.right.cell(column, unit.left), (unit.left, unit.right))
        for unit in units
    ]
    full = [(left, right) for left, right, _ in figures if left is not None and right is not None]
    pairs = [models for left, right, models in figures if left is not None and right is not None]
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


def _per_prompt(column: Column, left: Model, right: Model) -> tuple[list[float], list[float]]:
    """Values of the prompts that both sides have; none where the figure is not a mean over prompts."""
    scores = [model.scores(column) for model in (left, right)]
    ids = [key for key in scores[0] if key in scores[1]]
    return [scores[0][key] for key in ids], [scores[1][key] for key in ids]


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
