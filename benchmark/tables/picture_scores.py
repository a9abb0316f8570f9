"""Figures that are computed from the scores of single pictures when a table is made, so that no model is run again.

UA, IRA and CRA are the columns of UnlearnCanvas (Zhang et al. 2024, arXiv 2402.11846), with the testbed's oracle as the
classifier. Kept styles are split into names that a method was given (`--kept-names`) and names that it was not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmark import registry
from benchmark.api.suite import DESTINATION
from benchmark.errors import UsageError
from benchmark.records.record import Record, read_scores
from methods.kept_names import HALVES, given_names

KEPT_PARTS = ("kept", "neighbours")
CONTENTS = ("content_target", "content_kept")


class Derived(NamedTuple):
    """A figure, the number of pictures that it is computed from, its unit and the network that looked at them."""

    value: float
    n: int
    unit: str
    back_end: str


def derived(record: Record, cell: str, halves: Sequence[str] = ()) -> Derived | None:
    """The figure named `cell`, one of `CELLS`; None for a record without an oracle's scores.

    `halves` are the halves of kept names for a model whose method reads none: those of the model beside it, or all.
    """
    if cell not in CELLS or record.scores is None or not any(name.startswith(DESTINATION) for name in record.cells):
        return None
    return CELLS[cell](record, halves or HALVES)


def kept_names_of(record: Record) -> str | None:
    """The choice of `--kept-names` that the model was trained with; None if its method reads no names."""
    settings = dict(word.partition("=")[::2] for word in record.variant.split(","))
    if "kept_names" in settings:
        return settings["kept_names"]
    try:
        return "all" if registry.load("methods", record.method).reads_kept_names else None
    except UsageError:  # the base, a checkpoint made elsewhere, a method that is not installed here
        return None


_SCORES: dict[str, Mapping[str, Sequence]] = {}
"""Columns of scores by their file's checksum: a table reads them once for all its figures."""


def _columns(record: Record) -> Mapping[str, Sequence]:
    assert record.scores is not None
    if record.scores.sha256 not in _SCORES:
        _SCORES[record.scores.sha256] = read_scores(record).to_pydict()
    return _SCORES[record.scores.sha256]


def _style_numbers(record: Record) -> dict[str, int]:
    """Number of each style among the oracle's classes, in whose order the cells of destinations stand."""
    numbers: dict[str, int] = {}
    for name in record.cells:
        if name.startswith(DESTINATION):
            numbers.setdefault(name.partition("/")[2].partition("/")[2], len(numbers))
    return numbers


def _back_end(record: Record) -> str:
    return next(cell.back_end for name, cell in record.cells.items() if name.startswith(DESTINATION))


def _accuracy(record: Record, parts: Sequence[str]) -> tuple[float, int] | None:
    """Share of pictures of these parts whose likeliest style is the one that the prompt asks for."""
    columns, numbers = _columns(record), _style_numbers(record)
    hits = [
        style == numbers.get(target)
        for part, target, style in zip(columns["part"], columns["target"], columns["likeliest_style"], strict=True)
        if part in parts and style is not None
    ]
    return (sum(hits) / len(hits), len(hits)) if hits else None


def _percent(record: Record, value: float, n: int) -> Derived:
    return Derived(100 * value, n, "% of images", _back_end(record))


def _unlearning_accuracy(record: Record, halves: Sequence[str]) -> Derived | None:
    """UA: share of the targets' pictures that the oracle gives to another style."""
    accuracy = _accuracy(record, ("targets",))
    return _percent(record, 1 - accuracy[0], accuracy[1]) if accuracy else None


def _in_domain(record: Record, halves: Sequence[str]) -> Derived | None:
    """IRA: share of the kept artists' pictures that the oracle gives to the artist who was asked for."""
    accuracy = _accuracy(record, KEPT_PARTS)
    return _percent(record, *accuracy) if accuracy else None


def _cross_domain(record: Record, halves: Sequence[str]) -> Derived | None:
    """CRA: share of all pictures with a known content that show it."""
    columns = _columns(record)
    hits = [hit for name in CONTENTS for hit in columns.get(name, ()) if hit is not None]
    return _percent(record, sum(hits) / len(hits), len(hits)) if hits else None


def _harmonic_mean(record: Record, halves: Sequence[str]) -> Derived | None:
    figures = [compute(record, halves) for compute in (_unlearning_accuracy, _in_domain, _cross_domain)]
    present = [figure for figure in figures if figure is not None]
    if len(present) < len(figures):
        return None
    lowest = min(figure.value for figure in present)
    value = len(present) / sum(1 / figure.value for figure in present) if lowest else 0.0
    return Derived(value, sum(figure.n for figure in present), present[0].unit, present[0].back_end)


def _kept_style(given: bool) -> Callable[[Record, Sequence[str]], Derived | None]:
    def compute(record: Record, halves: Sequence[str]) -> Derived | None:
        columns = _columns(record)
        styles: dict[str, list[float]] = {}
        for part, target, value in zip(columns["part"], columns["target"], columns.get("kept_style", ()), strict=False):
            if part in KEPT_PARTS and value is not None:
                styles.setdefault(target, []).append(value)
        own = kept_names_of(record)
        means = []
        names: set[str] = set()
        for choice in (own,) if own else halves:
            named = set(given_names(list(styles), choice))
            counted = [name for name in styles if (name in named) == given]
            if not counted:
                return None
            means.append(sum(sum(styles[name]) / len(styles[name]) for name in counted) / len(counted))
            names.update(counted)
        n = sum(len(styles[name]) for name in names)
        return Derived(sum(means) / len(means), n, "probability", _back_end(record))

    return compute


CELLS: dict[str, Callable[[Record, Sequence[str]], Derived | None]] = {
    "unlearning_accuracy": _unlearning_accuracy,
    "in_domain_accuracy": _in_domain,
    "cross_domain_accuracy": _cross_domain,
    "accuracy_mean": _harmonic_mean,
    "kept_style_given": _kept_style(given=True),
    "kept_style_not_given": _kept_style(given=False),
}
