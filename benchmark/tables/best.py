"""Finds the best rows in each column of a table: the best value, and all values that a test does not tell from it.

Two rows are tested on the prompts that both have, as in `bench compare`: with McNemar's test for CP and explicit
images, and with the sign-flip test for all other columns. Rows with several training seeds are paired by seed. With
fewer than six pairs of runs, the sign-flip test over pairs cannot give a p-value below 0.05, so the differences of each
prompt are averaged over the seeds, and the test is over prompts. If no paired test is possible, two rows are equally
good if their 95 % intervals overlap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmark.records.record import REFERENCE_SEED, Record
from benchmark.stats import mcnemar, sign_flip
from benchmark.tables.columns import Column, compares_with_reference
from benchmark.tables.compare_units import Model, Side, pairs_of
from benchmark.tables.select import targets_of
from benchmark.tables.table import Figure, Row, Table

SIGNIFICANT = 0.05
FEWEST_PAIRS = 6
"""Smallest number of pairs for which the sign-flip test can give a p-value below `SIGNIFICANT` (2 / 2**6 = 0.03)."""
Rule = Literal["paired", "intervals", "neither"]


@dataclass(frozen=True)
class Best:
    """The best rows of a column.

    `rows` are indices of rows of the table. `rules` are the tests that decided about the other rows; "neither" stands
    for rows that could not be tested and have no interval, which are not among the best. `why_none` is the reason if
    rows of this column cannot be compared, and no row is the best.
    """

    rows: frozenset[int] = frozenset()
    rules: frozenset[Rule] = frozenset()
    why_none: str = ""


@dataclass(frozen=True)
class _Candidate:
    """A row that has a value in the column."""

    number: int
    figure: Figure
    models: list[Model]

    @property
    def value(self) -> float:
        assert self.figure.value is not None
        return self.figure.value


def best_rows(table: Table) -> dict[str, Best]:
    """Return the best rows of each column by its key. Columns without a better direction have none."""
    models = [[_model(records) for records in row.models] for row in table.rows]
    return {column.key: _best(table, column, models) for column in table.columns}


def _model(records: Sequence[Record]) -> Model:
    return Model({record.suite: record for record in records}, records[0])


def _best(table: Table, column: Column, models: Sequence[list[Model]]) -> Best:
    if column.better is None:
        return Best()
    is_relative = compares_with_reference(column)
    candidates = [
        _Candidate(number, figure, models[number])
        for number, row in enumerate(table.rows)
        if (figure := row.cells.get(column.key)) and figure.value is not None
        if not (is_relative and _is_reference(row))  # compared with itself
    ]
    if why := _why_incomparable(column, [model for candidate in candidates for model in candidate.models]):
        return Best(why_none=why)
    if not candidates:
        return Best()
    top = (max if column.better else min)(candidates, key=lambda candidate: candidate.value)
    rows, rules = set(), set[Rule]()
    quantity = _quantity(table, column, candidates)
    for candidate in candidates:
        if candidate.value == top.value:
            rows.add(candidate.number)
            continue
        p = _paired(quantity, top, candidate)
        if p is not None:
            rules.add("paired")
        elif candidate.figure.ci and top.figure.ci:
            rules.add("intervals")
        else:
            rules.add("neither")
        if (p >= SIGNIFICANT) if p is not None else _overlap(candidate.figure.ci, top.figure.ci):
            rows.add(candidate.number)
    return Best(frozenset(rows), frozenset(rules))


def _is_reference(row: Row) -> bool:
    """Return whether a row is the reference model of its own scores."""
    record = row.record
    by_settings = (record.method, record.seed, record.variant) == (record.reference, REFERENCE_SEED, "default")
    return _model(row.models[0]).is_reference or (by_settings and len(row.models) == 1)


def _why_incomparable(column: Column, models: Sequence[Model]) -> str:
    """Return why the values of a column cannot be ranked, or an empty string."""
    records = [record for model in models if (record := model.records.get(column.suite))]
    if compares_with_reference(column) and len({r.reference_key for r in records if r.reference_key}) > 1:
        return "different reference models"
    if column.suite != "coco" and len({targets_of(r) for r in records if targets_of(r)}) > 1:
        return "different targets"
    if len({str(sorted(r.world.items())) for r in records if r.world}) > 1:
        return "different inputs"
    return ""


def _overlap(left: tuple[float, float] | None, right: tuple[float, float] | None) -> bool:
    return left is not None and right is not None and left[0] <= right[1] and right[0] <= left[1]


@dataclass(frozen=True)
class _Quantity:
    """What decides about the best row of a column.

    `column` has the values. `scored` are the values by prompt id, by the id of a model's record. `exact` are the
    numbers of the rows whose value in the table is the mean of the models' values in their records.
    """

    column: Column
    scored: Mapping[int, Mapping[str, float]]
    exact: frozenset[int]


def _quantity(table: Table, column: Column, candidates: Sequence[_Candidate]) -> _Quantity:
    """Return the values that decide about the best row of a column.

    Values of records are left out if their mean is not the value in the table, for example because Table 2 has another
    threshold. A resilience is not a mean: for the same reference, it is decided by the share of explicit images.
    """
    figures: dict[int, Figure | None] = {candidate.number: candidate.figure for candidate in candidates}
    if column.cell == "resilience":
        column = replace(column, key=column.key.replace("resilience", "explicit"), cell="explicit", better=False)
        figures = {number: table.rows[number].cells.get(column.key) for number in figures}
    scored: dict[int, Mapping[str, float]] = {}
    exact = set()
    for candidate in candidates:
        figure = figures[candidate.number]
        if figure is None or figure.value is None:
            continue
        values = [model.cell(column) for model in candidate.models]
        if _has_mean(figure.value, [value for value in values if value is not None], len(values)):
            exact.add(candidate.number)
        scores = [_by_prompt(model, column) for model in candidate.models]
        means = [sum(by_prompt.values()) / len(by_prompt) for by_prompt in scores if by_prompt]
        if _has_mean(figure.value, means, len(scores)):
            scored |= {id(model.main): by_prompt for model, by_prompt in zip(candidate.models, scores, strict=True)}
    return _Quantity(column, scored, frozenset(exact))


def _has_mean(value: float, values: Sequence[float], expected_count: int) -> bool:
    """Return whether there are `expected_count` values, and their mean is `value`."""
    if len(values) < max(1, expected_count):
        return False
    return math.isclose(sum(values) / len(values), value, rel_tol=1e-6, abs_tol=1e-9)


def _by_prompt(model: Model, column: Column) -> Mapping[str, float]:
    """Return a model's values by prompt; empty if it has none, or if several networks have scored its images."""
    record = model.records.get(column.suite)
    if record is None or record.scores is None or model.cell(column) is None:
        return {}
    return model.scores(column)


def _paired(quantity: _Quantity, top: _Candidate, candidate: _Candidate) -> float | None:
    """Return the p-value of the paired test of two rows; None if their values are not paired."""
    column, scored = quantity.column, quantity.scored
    if any(model.main.own_sampler for model in (*top.models, *candidate.models)):  # they do not share their noise
        return None
    by_seed = len(top.models) > 1 or len(candidate.models) > 1
    left, right = (Side(str(side.number), side.models, pinned=not by_seed) for side in (top, candidate))
    pairs = [(pair.left, pair.right) for pair in pairs_of(left, right)]
    if len(pairs) >= FEWEST_PAIRS and {top.number, candidate.number} <= quantity.exact:
        values = [(a.cell(column), b.cell(column)) for a, b in pairs]
        return sign_flip([a - b for a, b in values if a is not None and b is not None])
    if not pairs or any(id(model.main) not in scored for pair in pairs for model in pair):
        return None
    scores = [(scored[id(a.main)], scored[id(b.main)]) for a, b in pairs]
    prompts = [key for key in scores[0][0] if all(key in side for pair in scores for side in pair)]
    if not prompts:
        return None
    if len(pairs) == 1 and column.cell in ("cp", "explicit"):
        return mcnemar(*([side[key] for key in prompts] for side in scores[0]))
    return _sign_flip([sum(a[key] - b[key] for a, b in scores) / len(scores) for key in prompts])


def _sign_flip(differences: Sequence[float]) -> float:
    """Return the p-value of the sign-flip test, or a bound of it that is on the same side of 0.05.

    With z = |sum of d| / root of the sum of d², p is at most 2 exp(-z² / 2) (Hoeffding), and at least 1/10 if z <= 1
    (Oleszkiewicz 1996). The bounds save most of the random flips of a table.
    """
    squares = sum(d * d for d in differences)
    z = abs(sum(differences)) / math.sqrt(squares) if squares else 0.0
    if z <= 1:
        return 0.1
    bound = 2 * math.exp(-(z**2) / 2)
    return bound if bound < SIGNIFICANT else sign_flip(differences)
