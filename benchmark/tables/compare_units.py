"""Selects the models that `bench compare` compares, and forms pairs with equal settings (units)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmark import registry
from benchmark.api.request import RunRequest
from benchmark.errors import DataError, RecordError
from benchmark.records.record import BROUGHT, Record, read_scores
from benchmark.tables.columns import Column, beside
from benchmark.tables.labels import short_label, with_files
from benchmark.tables.over_seeds import folded_label, groups_of, without_seed
from benchmark.tables.picture_scores import derived, kept_names_of
from benchmark.tables.select import ALL_PRUNINGS, Found, current, joined, targets_of
from benchmark.tables.table import Row
from benchmark.tables.table1_styles import table

AVERAGED = "kept_names=halves"
_HALF = re.compile(r"kept_names=half:\d")
_FOLDED = re.compile(r" \(\d+ seeds\)$")


@dataclass(frozen=True)
class Model:
    """The records of one model by suite; `main` is the record of the compared suite."""

    records: dict[str, Record]
    main: Record
    halves: tuple[Model, ...] = ()
    """If this is a mean over models that were trained with different halves of the kept names: these models. Otherwise
    empty."""

    def cell(self, column: Column, beside: Model | None = None) -> float | None:
        """Return the value of a column; None if it has none.

        `beside` is the model compared with. If this model's method reads no kept names, scores that depend on a half of
        the names are averaged over the halves that `beside` was trained with.
        """
        if self.halves:
            values = [half.cell(column, beside) for half in self.halves]
            present = [value for value in values if value is not None]
            return sum(present) / len(values) if len(present) == len(values) else None
        record = self.records.get(column.suite)
        if record is None:
            return None
        entries = [
            c
            for name, c in record.cells.items()
            if name.partition("[")[0] == column.cell and column.back_end in ("", c.back_end)
        ]
        if not entries:
            figure = derived(record, column.cell, beside.choices if beside else ())
            return figure.value if figure else None
        return entries[0].value if len(entries) == 1 else None

    @property
    def choices(self) -> list[str]:
        """The kept names used in training (`--kept-names`); empty if the method does not read them."""
        choices = [kept_names_of(model.main) for model in self.halves or (self,)]
        return [choice for choice in choices if choice]

    def scores(self, column: Column) -> dict[str, float]:
        """Return values by prompt id, averaged over the halves; empty if the column is not a mean over prompts."""
        if self.halves:
            several = [half.scores(column) for half in self.halves]
            shared = set.intersection(*map(set, several))
            return {key: sum(scores[key] for scores in several) / len(several) for key in several[0] if key in shared}
        table = read_scores(self.records[column.suite])
        if column.cell not in table.column_names:
            return {}
        values = zip(table["id"].to_pylist(), table[column.cell].to_pylist(), strict=True)
        return {key: value for key, value in values if value is not None}

    @property
    def trained(self) -> bool:
        """Whether it was trained here. The base and an external checkpoint have neither settings nor a seed."""
        return self.main.method != "base" and self.main.pruning != BROUGHT

    @property
    def is_reference(self) -> bool:
        """Whether it is itself the reference model of its scores."""
        return bool(self.main.model_id) and self.main.model_id == self.main.reference_key[:8]


@dataclass(frozen=True)
class Side:
    """The models that a name stands for; `pinned` if it names one training seed."""

    name: str
    models: list[Model]
    pinned: bool = False


class Setting(NamedTuple):
    """The settings that must be equal in a pair, in addition to targets and training seed."""

    usual: bool
    """Whether pruning, share of MACs, budget and precision (fp32) are the default ones."""
    pruning: str
    macs: float
    else_equal: str


class Pair(NamedTuple):
    """A unit: the models of both sides for one set of targets and one training seed."""

    targets: str
    seeds: str
    setting: Setting
    left: Model
    right: Model

    @property
    def same_reference(self) -> bool:
        """Whether both models have the same reference, so that relative scores can be compared."""
        return self.left.main.reference_key == self.right.main.reference_key


def models_of(entries: Iterable[Found], testbed: str, suite: str, versions: bool = False) -> list[Model]:
    """Return the models with a record of the suite; with `versions`, including outdated versions."""
    entries = [entry for entry in entries if entry[0].testbed == testbed]
    suites = [suite, *beside(suite, (record for record, _ in entries))]
    suite_entries = [entry for entry in entries if entry[0].suite in suites]
    groups = [group for group, _ in joined(suite_entries if versions else current(suite_entries), suites)]
    return [Model({r.suite: r for r in group}, group[0]) for group in groups if group[0].suite == suite]


def side_of(entries: Sequence[Found], testbed: str, suite: str, name: str) -> Side:
    """Return the models that a method's name, or the label of a row in any view of the table, stands for.

    A label without a seed stands for all seeds. DataError if nothing, or several checkpoints, have the name.
    """
    models = models_of(entries, testbed, suite)
    if not (pool := _find_by_label(models, name) or _default(models, name)):
        exact = [m for m in models if m.main.label == name]
        pool = exact or _in_tables(entries, testbed, suite, name)
        if not pool:
            labels = sorted({m.main.label for m in models})
            raise DataError(
                f"There is no record of '{name}' in suite '{suite}' on testbed '{testbed}'. There are: "
                f"{', '.join(labels) or 'none'}; and the labels of `bench table --all`."
            )
        return Side(name, pool, pinned=without_seed(name) != name)
    brought = {m.main.model_id for m in pool if m.main.pruning == BROUGHT}
    if len(brought) > 1:
        places = {id(m.main) for m in pool}
        rows = table(entries, testbed, suite, everything=True).rows
        labels = [row.label for row in rows if id(row.record) in places]
        raise DataError(
            f"'{name}' is the name of {len(brought)} checkpoints: name one as `bench table --all` does, such as "
            f"'{min(labels)}'."
        )
    return Side(name, pool)


def _find_by_label(models: Sequence[Model], name: str) -> list[Model]:
    """Return the models with this label, ignoring their seeds.

    In a name, kept_names=halves stands for the mean of the models that were trained with halves of the kept names.
    """
    if AVERAGED not in name:
        return _of_one_method([m for m in models if _strip_seed(m.main) == name], name)
    matching = [m for m in models if _HALF.sub(AVERAGED, _strip_seed(m.main)) == name and _HALF.search(m.main.label)]
    matching = _of_one_method(matching, name)
    groups: dict[tuple, dict[str, Model]] = {}
    for model in matching:
        unit = (sorted(targets_of(model.main)), model.main.seed, _setting(model.main))
        groups.setdefault(tuple(map(str, unit)), {})[model.main.variant] = model
    return [
        Model(halves[0].records, halves[0].main, tuple(halves))
        for halves in ([group[variant] for variant in sorted(group)] for group in groups.values())
    ]


def _of_one_method(models: list[Model], name: str) -> list[Model]:
    """Return the models, or only those of an installed method if a plug-in's class has the same name.

    DataError if classes of several files have this name, because their models must not be averaged.
    """
    if len(methods := {m.main.method for m in models}) < 2:
        return models
    if installed := [m for m in models if not registry.is_file(m.main.method)]:
        return installed
    labels = with_files([short_label(m.main) for m in models], [m.main for m in models])
    raise DataError(
        f"'{name}' is the label of {len(methods)} plug-ins: name one as `bench table` does, such as '{min(labels)}'."
    )


def _strip_seed(record: Record) -> str:
    return short_label(record).replace(f", seed {record.seed})", ")").replace(f" (seed {record.seed})", "")


def _default(models: Sequence[Model], name: str) -> list[Model]:
    """Return the models of this method with its default settings; the default preset can depend on the testbed."""
    named = [m for m in models if m.main.method == name and m.main.variant == "default"]
    presets = {m.main.preset for m in named}
    default_preset = "default" if "default" in presets or len(presets) > 1 else "".join(presets)
    return [m for m in named if m.main.preset == default_preset]


def _in_tables(entries: Sequence[Found], testbed: str, suite: str, name: str) -> list[Model]:
    """Return the models of rows with this label in a view of the table; the narrowest view is tried first."""
    models = models_of(entries, testbed, suite, versions=True)
    views: tuple[dict[str, Any], ...] = ({}, {"pruning": ALL_PRUNINGS}, {"everything": True})
    for view in views:
        with suppress(DataError, RecordError):
            records = {id(row.record) for row in _find_rows(table(entries, testbed, suite, **view).rows, name)}
            if chosen := [m for m in models if any(id(record) in records for record in m.records.values())]:
                return chosen
    return []


def _find_rows(rows: Sequence[Row], name: str) -> list[Row]:
    """Return the rows with this label, or else those whose label without the seed is `name`.

    A name that ends in "(N seeds)" stands for the rows that are averaged under it.
    """
    if not _FOLDED.search(name):
        return [row for row in rows if row.label == name] or [row for row in rows if without_seed(row.label) == name]
    return [row for group in groups_of(rows)[0] if folded_label(group) == name for row in group]


def pairs_of(left: Side, right: Side) -> list[Pair]:
    """Return all pairs of a left and a right model that can be compared, sorted.

    A trained model is paired with models of the same settings and seed. The base and external checkpoints have neither,
    and are paired with all models that were sampled in the same way. If one side is pinned to a seed, the other side is
    pinned to seed 0, and seeds can differ.
    """
    pinned = left.pinned or right.pinned
    left_models, right_models = (_pinned(side) if pinned else side.models for side in (left, right))
    pairs: dict[tuple, Pair] = {}
    for model in left_models:
        for partner in right_models:
            pair = _pair(model, partner)
            kept_pair = pairs.get(_unit(pair), pair)
            if _comparable(model, partner, pinned) and pair.same_reference >= kept_pair.same_reference:
                pairs[_unit(pair)] = (
                    pair  # if a unit has several records, the last, because the user's come after the committed ones
                )
    return [pairs[unit] for unit in sorted(pairs)]


def _pinned(side: Side) -> list[Model]:
    return side.models if side.pinned else [m for m in side.models if m.main.seed == 0] or side.models


def _unit(pair: Pair) -> tuple:
    return pair.targets, pair.left.main.seed, pair.right.main.seed, pair.setting


def _comparable(model: Model, partner: Model, pinned: bool) -> bool:
    if targets_of(model.main) != targets_of(partner.main):
        return False
    if _sampler_and_world(model.main) != _sampler_and_world(partner.main):
        return False
    if not (model.trained and partner.trained):
        return True
    return _setting(model.main) == _setting(partner.main) and (pinned or model.main.seed == partner.main.seed)


def _sampler_and_world(record: Record) -> str:
    """Return, as text, what two models must share for their pictures to be comparable."""
    return json.dumps([record.sampler, record.world], sort_keys=True)


def _setting(record: Record) -> Setting:
    is_usual = (record.pruning, record.macs) == (RunRequest.pruning, RunRequest.macs)
    is_usual = is_usual and record.budget.get("default") is not False and "precision" not in record.sampler
    world = dict(record.world)
    if isinstance(suite := world.get("suite"), dict):  # a plug-in's prompts may differ between sets of targets
        world["suite"] = {key: value for key, value in suite.items() if key != "prompts"}
    other_settings = json.dumps([record.data, record.budget, record.sampler, world], sort_keys=True)
    return Setting(is_usual, record.pruning, record.macs, other_settings)


def _pair(left: Model, right: Model) -> Pair:
    trained = [model.main for model in (left, right) if model.trained]
    setting = _setting(trained[0]) if trained else Setting(True, "none", 1.0, _sampler_and_world(left.main))
    seeds = list(dict.fromkeys(record.seed for record in trained)) or [0]
    targets = ", ".join(sorted(targets_of(left.main)))
    return Pair(targets, " / ".join(map(str, seeds)), setting, left, right)
