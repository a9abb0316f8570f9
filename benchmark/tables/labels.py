"""Makes row labels unique: no two rows of one source have the same label in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmark.records.record import Record
from benchmark.tables.select import targets_of
from benchmark.tables.table import Row


def told_apart(rows: Sequence[Row], shown: Sequence[Record]) -> list[Row]:
    """Return the rows with unique labels, by adding facts in which rows of the same label and source differ.

    `shown` are all records of the table, including the reference models of its rows.
    """
    labels = [row.label for row in rows]
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
