"""Labels that tell rows apart: no two rows of a table, of one source, are called alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmark.records.record import Record
from benchmark.tables.select import targets_of
from benchmark.tables.table import Row


def told_apart(rows: Sequence[Row], shown: Sequence[Record]) -> list[Row]:
    """The rows; to labels that several of one source have, the first facts are added in which those rows differ.

    `shown` are all records of the table, which say what the references of its rows are.
    """
    labels = [row.label for row in rows]
    for fact in (*_FACTS, lambda record: _reference(record, shown), *_KEYS):
        for alike in _alike(rows, labels):
            words = {k: fact(rows[k].record) for k in alike}
            if len(set(words.values())) > 1:
                for k, word in words.items():
                    labels[k] += f" · {word}" if word else ""
    for alike in _alike(rows, labels):
        for number, k in enumerate(alike[1:], 2):
            labels[k] += f" · {number}"
    return [replace(row, label=label) for row, label in zip(rows, labels, strict=True)]


def budget_words(record: Record) -> list[str]:
    """What a model was allowed to spend, unless it is the testbed's default."""
    if record.budget.get("default") is not False:
        return []
    return [f"{record.budget[unit]:.3g} {unit}" for unit in ("flops", "iterations") if record.budget.get(unit)]


def _alike(rows: Sequence[Row], labels: Sequence[str]) -> list[list[int]]:
    """Places of the rows that share source and label, for each label that several have."""
    places: dict[tuple[str, str], list[int]] = {}
    for k, row in enumerate(rows):
        places.setdefault((row.source, labels[k]), []).append(k)
    return [group for group in places.values() if len(group) > 1]


def _reference(record: Record, shown: Sequence[Record]) -> str:
    """The budget of the reference that a row is compared with, which rows of the same reference share."""
    sharing = [r for r in shown if r.method != "base" and r.reference_key == record.reference_key]
    budgets = {" ".join(budget_words(r)) for r in sharing}
    return ", ".join(sorted(filter(None, budgets)))


_FACTS: tuple[Callable[[Record], str], ...] = (
    lambda record: ", ".join(sorted(targets_of(record))),
    lambda record: f"recipe {record.recipe}",
    lambda record: f"compared with {record.reference}",
    lambda record: " ".join(budget_words(record)),
)
_KEYS: tuple[Callable[[Record], str], ...] = (
    lambda record: f"model {record.model_id}" if record.model_id else "",
    lambda record: f"reference {record.reference_key[:8]}" if record.reference_key else "",
    lambda record: f"made {record.made.get('time', '')}",
)
"""What only a machine can read, after all that a person can."""
