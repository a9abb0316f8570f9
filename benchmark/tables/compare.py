"""Compares two methods in pairs of runs (`bench compare`). No torch is imported.

A pair consists of one run of each method with the same targets and training seed. All pairs of a comparison have the
same setting: pruning, share of MACs, budget, data, sampler and testbed version. With several pairs, intervals and
p-values describe the variation over targets and trainings. With a single pair, they only describe new prompts to the
same models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmark.errors import DataError, UsageError
from benchmark.stats import bootstrap_interval, mcnemar, sign_flip, student_interval, upper_bound
from benchmark.tables.columns import (
    BUILT_IN,
    COLUMNS,
    Column,
    by_section,
    compares_with_reference,
    declared,
    directed,
    split,
    undeclared,
)
from benchmark.tables.compare_units import Model, Pair, Setting, Side, pairs_of, side_of
from benchmark.tables.select import Found


@dataclass(frozen=True)
class Contrast:
    """One column: the means of both sides, their difference (left - right), its interval and its p-value."""

    column: Column
    left: float
    right: float
    difference: float
    ci: tuple[float, float] | None
    p: float | None
    n: int
    over: Literal["units", "prompts"]
    test: str
    worse_by: float | None = None
    """Upper end of a one-sided 95 % interval over pairs for how much worse the left side is; negative if better."""


@dataclass(frozen=True)
class Comparison:
    """The contrasts of all columns that both sides have."""

    testbed: str
    suite: str
    left: str
    right: str
    units: list[str]
    contrasts: list[Contrast]
    notes: list[str]


def compare(
    entries: Iterable[Found],
    testbed: str,
    suite: str,
    left: str,
    right: str,
    *,
    long: bool = False,
    pruning: str = "",
    macs: float | None = None,
) -> Comparison:
    """Compare two rows of a table, given as a method's name or as a row's label in any view of the table.

    A label without a seed stands for all seeds. If both sides were run in several settings, the default setting is
    compared, or else the one with most pairs of runs; `pruning` and `macs` select a different one. A note counts the
    pairs that are left out.

    Raises:
        DataError: a side has no record, or the two have no pair of runs in common.
    """
    entries = list(entries)
    sides = [side_of(entries, testbed, suite, name) for name in (left, right)]
    common = pairs_of(*sides)
    matching_pairs = [
        pair for pair in common if pruning in ("", pair.setting.pruning) and macs in (None, pair.setting.macs)
    ]
    if not matching_pairs:
        raise DataError(_nothing_shared(sides, pruning, macs))
    settings = [pair.setting for pair in matching_pairs]
    setting = max(settings, key=lambda candidate: (candidate.usual, settings.count(candidate), candidate))
    pairs = [pair for pair in matching_pairs if pair.setting == setting]
    contrasts, notes = [], []
    for column in (c for c in _columns(suite, pairs) if long or not c.section):
        usable = pairs
        is_relative = compares_with_reference(column)
        if is_relative:
            usable = [pair for pair in pairs if not (pair.left.is_reference or pair.right.is_reference)]
        if _contrast(column, pairs) is None:
            continue
        if is_relative and any(not pair.same_reference for pair in usable):
            notes.append(f"{column.header} is left out: the two sides were compared with different references.")
        elif contrast := _contrast(column, usable):
            contrasts.append(contrast)
        if len(usable) < len(pairs):
            notes.append(_note_reference_pairs(column, len(pairs) - len(usable), len(pairs)))
    return Comparison(
        testbed,
        suite,
        left,
        right,
        [_describe_pair(pair) for pair in pairs],
        contrasts,
        notes
        + _noise_note(pairs)
        + _notes(len(pairs), len({pair.targets for pair in pairs}))
        + _setting_notes(setting, len(common) - len(pairs)),
    )


def _columns(suite: str, pairs: Sequence[Pair]) -> list[Column]:
    """Return the columns of the paper and of `--long`, and those that plug-ins declared in the compared records.

    Values of different networks or versions of code get separate columns, and are not compared.
    """
    models = [model for pair in pairs for side in (pair.left, pair.right) for model in (side, *side.halves)]
    records = list({id(record): record for model in models for record in model.records.values()}.values())
    own = declared(records, [column.key for column in COLUMNS if suite in BUILT_IN or column.suite != suite])
    if suite not in BUILT_IN and not any(column.suite == suite for column in own):
        own += undeclared(suite, records)
    own = [split_column for column in own for split_column in split(column, records)]
    built_in = [directed(column, records) for column in COLUMNS]
    return by_section([*built_in, *own] if suite in BUILT_IN else [*own, *built_in])


def _nothing_shared(sides: Sequence[Side], pruning: str, macs: float | None) -> str:
    """Return why there is no pair of runs, and what to do. An external checkpoint cannot be run with other settings."""
    named = " and ".join(f"'{side.name}'" for side in sides)
    own = [side.name for side in sides if any(model.main.own_sampler for model in side.models)]
    if len(own) == 1:
        return (
            f"'{own[0]}' was not sampled by this benchmark and shares no noise with the other model, so {named} cannot "
            "be compared picture by picture: `bench table` shows both with their intervals."
        )
    setting = " ".join(filter(None, (pruning, "" if macs is None else f"{macs:g}")))
    setting = f" with {setting}" if setting else ""
    if all(any(model.trained for model in side.models) for side in sides):
        return f"{named} share no targets, seed, pruning, data and budget{setting}: run both with the same."
    return (
        f"{named} were not sampled with the same prompts and sampler on the same testbed{setting}: score both with "
        "the same --testbed and --targets."
    )


def _note_reference_pairs(column: Column, count: int, of: int) -> str:
    """Return a note on pairs that are left out because a side is the reference, whose score is relative to itself."""
    if count == of:
        return f"{column.header} is left out: one side is the reference itself."
    pairs = "1 pair" if count == 1 else f"{count} pairs"
    return f"{column.header} leaves out {pairs} of {of}, in which one side is the reference itself."


def only(comparison: Comparison, keys: Sequence[str]) -> Comparison:
    """Return the comparison with only these columns, in this order. UsageError if one was not compared."""
    contrasts_by_key = {contrast.column.key: contrast for contrast in comparison.contrasts}
    if missing_keys := [key for key in keys if key not in contrasts_by_key]:
        raise UsageError(f"Column '{missing_keys[0]}' was not compared; there are: {', '.join(contrasts_by_key)}.")
    return replace(comparison, contrasts=[contrasts_by_key[key] for key in keys])


def _describe_pair(pair: Pair) -> str:
    return f"{pair.targets} (seed {pair.seeds})" if pair.targets else f"seed {pair.seeds}"


def _contrast(column: Column, units: Sequence[Pair]) -> Contrast | None:
    """Compare the pairs that have the column's value on both sides; None if there is no such pair."""
    values: list[tuple[float, float]] = []
    models: list[tuple[Model, Model]] = []
    for unit in units:
        left_value, right_value = unit.left.cell(column, unit.right), unit.right.cell(column, unit.left)
        if left_value is not None and right_value is not None:
            values.append((left_value, right_value))
            models.append((unit.left, unit.right))
    if not values:
        return None
    left, right = (sum(side) / len(values) for side in zip(*values, strict=True))
    if len(values) > 1:
        differences = [a - b for a, b in values]
        interval, p = student_interval(differences), sign_flip(differences)
        worse = None if column.better is None else upper_bound([-d if column.better else d for d in differences])
        return Contrast(column, left, right, left - right, interval, p, len(values), "units", "sign flip", worse)
    left_values, right_values = _per_prompt(column, *models[0])
    differences = [a - b for a, b in zip(left_values, right_values, strict=True)]
    if not differences:
        return Contrast(column, left, right, left - right, None, None, 1, "units", "")
    if column.cell in ("cp", "explicit"):
        p, test = mcnemar(left_values, right_values), "McNemar"
    else:
        p, test = sign_flip(differences), "sign flip"
    interval = bootstrap_interval(differences)
    return Contrast(column, left, right, left - right, interval, p, len(differences), "prompts", test)


def _per_prompt(column: Column, left: Model, right: Model) -> tuple[list[float], list[float]]:
    """Return both sides' values for their common prompts; empty if the value is not a mean over prompts."""
    scores = [model.scores(column) for model in (left, right)]
    ids = [key for key in scores[0] if key in scores[1]]
    return [scores[0][key] for key in ids], [scores[1][key] for key in ids]


def _setting_notes(setting: Setting, other_units: int) -> list[str]:
    """Name the setting if it is not the default one, and say how many units have another setting."""
    notes = [] if setting.usual else [f"Both sides: {setting.pruning}, {setting.macs:.0%} of MACs."]
    if other_units:
        pairs = "1 more pair of runs has" if other_units == 1 else f"{other_units} more pairs of runs have"
        notes.append(
            f"{pairs} a different pruning, budget, data, sampler or testbed version: --pruning and --macs select "
            "other pairs."
        )
    return notes


def _noise_note(pairs: Sequence[Pair]) -> list[str]:
    """Return a note if the pictures were not sampled by this package, or no note."""
    if not any(pair.left.main.own_sampler for pair in pairs):
        return []
    return ["Neither side was sampled by this benchmark: pictures are paired by prompt, and may not share noise."]


def _notes(units: int, target_sets: int) -> list[str]:
    if units == 1:
        return [
            "One pair of runs: intervals and p are over its prompts, and say nothing about other seeds or targets.",
            "FID and KID have no p here, because they are not means over prompts.",
        ]
    notes = [f"{units} pairs of runs with equal targets and seed: intervals (Student's t) and p are over pairs."]
    if target_sets < units:
        sets = "one set of targets" if target_sets == 1 else f"{target_sets} sets of targets"
        notes.append(f"They share {sets}, so they say less about other targets than as many independent pairs would.")
    if units < 6:
        notes.append(f"With {units} pairs the sign-flip test cannot give a p below {2 / 2**units:.3g}.")
    return notes
