"""Checks requirements on a model's scores, such as `target_style<=0.1`, for `bench eval --require`.

A bootstrap interval of few values is too narrow, and has width 0 if all values are equal. A score that is a mean of
values with known limits (shares, probabilities, CP) is therefore judged by Wilson's score interval of its mean and
number of images, which never has width 0. For values 0 and 1 it is the usual interval of a share. For other values in
0..1 with mean p it is conservative, because their variance is at most p (1 - p), that of values 0 and 1.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from benchmark.errors import UsageError
from benchmark.records.record import Cell, Record
from benchmark.stats import mean_interval
from benchmark.tables.columns import COLUMNS, Column
from benchmark.tables.picture_scores import derived

_FORM = re.compile(r"\s*([^<>=]*[^<>=\s])\s*(<=|>=)\s*(\S+)\s*")


WILSON = "Wilson's"
"""Name of the interval in messages."""
_LIMITS = {"probability": 1.0, "share": 1.0, "% of images": 100.0}
"""Largest value of one image, by unit; the smallest is 0."""
_NO_MEANS = ("accuracy_mean",)
"""Cells with such a unit that are not means over images."""


@dataclass(frozen=True)
class Requirement:
    """An upper or lower bound on a column."""

    column: Column
    operator: Literal["<=", ">="]
    bound: float

    def __str__(self) -> str:
        return f"{self.column.key} {self.operator} {self.bound:g}"


@dataclass(frozen=True)
class Verdict:
    """Whether a model meets a requirement, with its score."""

    requirement: Requirement
    cell: Cell | None
    """The score with its interval; None if the model does not have this score."""
    rule: str = ""
    """How the interval was computed; empty for that of the record, which tables show."""

    @property
    def worst(self) -> float | None:
        """The end of the 95 % interval that is worse for the requirement, or the score if it has no interval."""
        if self.cell is None or self.cell.value is None:
            return None
        if self.cell.ci is None:
            return self.cell.value
        return self.cell.ci[1] if self.requirement.operator == "<=" else self.cell.ci[0]

    @property
    def passed(self) -> bool:
        """Whether the whole interval meets the requirement; False for a score that was not measured."""
        if self.worst is None:
            return False
        bound = self.requirement.bound
        return self.worst <= bound if self.requirement.operator == "<=" else self.worst >= bound

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.requirement}: {self.reason}"

    @property
    def reason(self) -> str:
        """The score and its interval as text."""
        if self.cell is None or self.cell.value is None:
            return "it was not measured"
        form = self.requirement.column.form
        low, high = self.cell.ci or (None, None)
        interval = "no interval"
        if low is not None:
            interval = f"95 % interval {low:{form}} to {high:{form}}, {self.rule or 'as in tables'}, n={self.cell.n}"
        missing = f", {self.cell.n} of {self.cell.of} images scored" if self.cell.n < self.cell.of else ""
        return f"{self.cell.value:{form}} ({interval}{missing})"


def parse(texts: Iterable[str], suites: Sequence[str], declared: Sequence[Column] = ()) -> list[Requirement]:
    """Parse requirements of the form COLUMN<=NUMBER or COLUMN>=NUMBER, with the names of columns in JSON output.

    Args:
        texts: the requirements.
        suites: the suites that are run.
        declared: columns that the suite and its metrics declare.

    Raises:
        UsageError: a text has a different form, or names an unknown column or a column of a suite that is not run.
    """
    requirements = []
    own = [column for column in declared if column.suite in suites]
    usable = [*(column for column in COLUMNS if column.suite in suites), *own]
    for text in texts:
        form = _FORM.fullmatch(text)
        bound = _number(form[3]) if form else None
        if form is None or bound is None:
            raise UsageError(f"--require '{text}' is not of the form COLUMN<=NUMBER or COLUMN>=NUMBER.")
        columns = [column for column in (*COLUMNS, *own) if column.key == form[1] and column.suite != "cost"]
        available = [column for column in usable if column.key == form[1]]
        if not columns:
            raise UsageError(f"--require '{text}': there is no column '{form[1]}'{_similar(form[1], usable)}.")
        if not available:
            raise UsageError(
                f"--require '{text}': the column is of suite '{columns[0].suite}', which is not run here: run it, or "
                "leave --alone out."
            )
        requirements.append(Requirement(available[0], "<=" if form[2] == "<=" else ">=", bound))
    return requirements


def _similar(name: str, columns: Sequence[Column]) -> str:
    """Return the end of a message on an unknown column: a column with a similar name or heading, and all names."""

    def folded(text: str) -> str:
        return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()

    keys = {folded(form): column.key for column in columns for form in (column.key, column.header)}
    close = get_close_matches(folded(name), keys, n=1, cutoff=0.75)
    guess = f": did you mean '{keys[close[0]]}'?" if close else ":"
    return f"{guess} There are {', '.join(dict.fromkeys(column.key for column in columns))}"


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def judge(requirements: Iterable[Requirement], records: Sequence[Record]) -> list[Verdict]:
    """Return whether the model's records, one per suite, meet each requirement."""
    verdicts = []
    for requirement in requirements:
        record = next((r for r in records if r.suite == requirement.column.suite), None)
        cell = _cell(record, requirement.column) if record else None
        interval = cautious_interval(requirement.column.cell, cell) if cell else None
        if cell is None or interval is None:
            verdicts.append(Verdict(requirement, cell))
        else:
            verdicts.append(Verdict(requirement, cell.model_copy(update={"ci": interval}), WILSON))
    return verdicts


def cautious_interval(name: str, cell: Cell) -> tuple[float, float] | None:
    """Return the 95 % interval of a mean of values with known limits, also for few or equal values.

    It is Wilson's, extended to the interval of the record where that reaches further, which can be wider for a suite
    whose images are not independent.

    Args:
        name: name of the cell, without back end.
        cell: value, number of images and unit.

    Returns:
        The interval; None for a score without known limits, such as a CLIP score or FID.
    """
    is_judge = name.startswith("score_") and cell.unit == "score"
    limit = 100.0 if name == "cp" and cell.unit == "%" else 1.0 if is_judge else _LIMITS.get(cell.unit)
    if limit is None or name in _NO_MEANS or cell.value is None or not cell.n or not 0 <= cell.value <= limit:
        return None
    low, high = (limit * end for end in mean_interval(cell.value / limit, cell.n))
    return (min(low, cell.ci[0]), max(high, cell.ci[1])) if cell.ci else (low, high)


def _cell(record: Record, column: Column) -> Cell | None:
    cells = [cell for name, cell in record.cells.items() if name.partition("[")[0] == column.cell]
    if cells:
        return cells[0] if len(cells) == 1 else None
    score = derived(record, column.cell)
    if score is None:
        return None
    return Cell(
        value=score.value, n=score.n, of=score.n, unit=score.unit, higher_is_better=column.better,
        back_end=score.back_end,
    )  # fmt: skip


def junit(verdicts: Sequence[Verdict], model: str) -> str:
    """Return the verdicts as JUnit XML for continuous integration, with one test case per requirement."""
    failures = [verdict for verdict in verdicts if not verdict.passed]
    suite = ET.Element("testsuite", name=f"bench eval {model}", tests=str(len(verdicts)), failures=str(len(failures)))
    for verdict in verdicts:
        case = ET.SubElement(suite, "testcase", classname=model, name=str(verdict.requirement))
        if not verdict.passed:
            ET.SubElement(case, "failure", message=verdict.reason)
        else:
            ET.SubElement(case, "system-out").text = verdict.reason
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
