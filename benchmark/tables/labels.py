"""Makes row labels unique: no two rows of one source have the same label in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePath

from benchmark import registry
from benchmark.records.command import SETTING
from benchmark.records.record import BROUGHT, Record
from benchmark.tables.select import targets_of
from benchmark.tables.table import Row


def told_apart(rows: Sequence[Row], shown: Sequence[Record]) -> list[Row]:
    """Return the rows with unique labels, by adding facts in which rows of the same label and source differ.

    `shown` are all records of the table, including the reference models of its rows.
    """
    labels = with_files([row.label for row in rows], [row.record for row in rows])
    for fact_of in (*_FACTS, lambda record: _reference(record, shown), *_KEYS):
        for row_numbers in _equal_labels(rows, labels):
            facts_by_row = {k: fact_of(rows[k].record) for k in row_numbers}
            if len(set(facts_by_row.values())) > 1:
                for k, text in facts_by_row.items():
                    labels[k] += f" · {text}" if text else ""
    for row_numbers in _equal_labels(rows, labels):
        for number, k in enumerate(row_numbers[1:], 2):
            labels[k] += f" · {number}"
    return [replace(row, label=label) for row, label in zip(rows, labels, strict=True)]


def short_label(record: Record) -> str:
    """Return the label of a record with the class of each plug-in instead of its path, which old records have."""
    label = record.label
    for name in (record.method, *(value for _, value in _settings(record))):
        label = label.replace(name, registry.short_name(name)) if registry.is_file(name) else label
    return label


def pruning_label(record: Record) -> str:
    """Return the pruning of a model for labels: its name and share of MACs, "magnitude 0.8".

    It is unknown how an external checkpoint was pruned, so that only its share of MACs is given: "external 0.8", or
    nothing if it has all MACs of the base.
    """
    if record.pruning == BROUGHT:
        return "" if record.macs == 1 else f"external {record.macs:g}"
    return f"{registry.short_name(record.pruning)} {record.macs:g}"


def short_variant(record: Record) -> str:
    """Return the changed settings of a record with the class of each plug-in instead of its path."""
    variant = record.variant
    for _, value in _settings(record):
        variant = variant.replace(value, registry.short_name(value)) if registry.is_file(value) else variant
    return variant


def with_files(labels: Sequence[str], records: Sequence[Record]) -> list[str]:
    """Return the labels, with the file of a method's class if methods from several files have this class name.

    `Ridge` and `Ridge (seed 1)` become `Ridge (a.py)` and `Ridge (a.py) (seed 1)`. A method of this project keeps its
    name. Files of equal names are written with as many folders as are needed to distinguish them.
    """
    extended = list(labels)
    for name in {registry.short_name(record.method) for record in records}:
        methods = dict.fromkeys(r.method for r in records if registry.short_name(r.method) == name)
        if len(methods) < 2:
            continue
        files = _distinct_files([method for method in methods if registry.is_file(method)])
        for k, record in enumerate(records):
            if record.method in files and labels[k].startswith(name):
                prefix = f"{name} ({files[record.method]})"
                extended[k] = labels[k] if labels[k].startswith(prefix) else prefix + labels[k].removeprefix(name)
    return extended


def _distinct_files(methods: Sequence[str]) -> dict[str, str]:
    """Return the file of each `path/to/file.py:Class`, with the smallest number of folders that makes all different."""
    parts = {method: PurePath(method.rpartition(":")[0]).parts for method in methods}
    for count in range(1, max(map(len, parts.values()), default=1) + 1):
        files = {method: "/".join(names[-count:]) for method, names in parts.items()}
        if len(set(files.values())) == len(files):
            break
    return files


def _settings(record: Record) -> list[tuple[str, str]]:
    """Return the changed settings of a record as texts."""
    words = [] if record.variant == "default" else SETTING.split(record.variant)
    return [(key, value) for key, equals, value in (word.partition("=") for word in words) if equals]


def _plugin_files(record: Record) -> str:
    """Return the names of the files that the settings and the pruning of a record name."""
    named = [record.pruning, *(value for _, value in _settings(record))]
    return ", ".join(PurePath(name.rpartition(":")[0]).name for name in named if registry.is_file(name))


def budget_words(record: Record) -> list[str]:
    """Return the budget of a model as words for its label; empty for the testbed's default budget."""
    if record.budget.get("default") is not False:
        return []
    return [f"{record.budget[unit]:.3g} {unit}" for unit in ("flops", "iterations") if record.budget.get(unit)]


def _equal_labels(rows: Sequence[Row], labels: Sequence[str]) -> list[list[int]]:
    """Return the row indices of each label that several rows of one source share."""
    indices: dict[tuple[str, str], list[int]] = {}
    for k, row in enumerate(rows):
        indices.setdefault((row.source, labels[k]), []).append(k)
    return [group for group in indices.values() if len(group) > 1]


def _reference(record: Record, shown: Sequence[Record]) -> str:
    """Return the budgets of all shown models that have the same reference model as the record."""
    sharing = [r for r in shown if r.method != "base" and r.reference_key == record.reference_key]
    budgets = {" ".join(budget_words(r)) for r in sharing}
    return ", ".join(sorted(filter(None, budgets)))


_FACTS: tuple[Callable[[Record], str], ...] = (
    lambda record: ", ".join(sorted(targets_of(record))),
    _plugin_files,
    lambda record: f"recipe {record.recipe}",
    lambda record: f"compared with {record.reference}",
    lambda record: " ".join(budget_words(record)),
)
_KEYS: tuple[Callable[[Record], str], ...] = (
    lambda record: f"model {record.model_id}" if record.model_id else "",
    lambda record: f"reference {record.reference_key[:8]}" if record.reference_key else "",
    lambda record: f"made {record.made.get('time', '')}",
)
"""Facts that mean little to a reader. They are used only if the other facts do not make a label unique."""
