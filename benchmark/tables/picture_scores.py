"""Computes columns from the stored per-image scores of a record, without running a model.

UA, IRA and CRA are the accuracies of UnlearnCanvas (Zhang et al. 2024, arXiv 2402.11846), with the testbed's oracle as
the classifier. The kept style is computed separately for the names that a method received (`--kept-names`) and for
the remaining names.
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
    """A value, the number of images that it is computed from, its unit, and the network that scored the images."""

    value: float
    n: int
    unit: str
    back_end: str


def derived(record: Record, cell: str, halves: Sequence[str] = ()) -> Derived | None:
    """Compute the value `cell`, one of `CELLS`; None if the record has no scores of an oracle.

    `halves` are the choices of `--kept-names` to average over if the record's method does not read kept names. In a
    comparison they are those of the model that it is compared with; by default all of them.
    """
    if cell not in CELLS or record.scores is None or not any(name.startswith(DESTINATION) for name in record.cells):
        return None
    return CELLS[cell](record, halves or HALVES)


def kept_names_of(record: Record) -> str | None:
    """Return the value of `--kept-names` that the model was trained with; None if its method does not read names."""
    settings = dict(word.partition("=")[::2] for word in record.variant.split(","))
    if "kept_names" in settings:
        return settings["kept_names"]
    try:
        return "all" if registry.declared("methods", record.method, "reads_kept_names", True) else None
    except UsageError:  # the base model, an external checkpoint, or a method that is not installed
        return None


_SCORES: dict[str, Mapping[str, Sequence]] = {}
"""Per-image scores by their file's checksum, so that each file is read only once per table."""


def _columns(record: Record) -> Mapping[str, Sequence]:
    assert record.scores is not None
    if record.scores.sha256 not in _SCORES:
        _SCORES[record.scores.sha256] = read_scores(record).to_pydict()
    return _SCORES[record.scores.sha256]


def _likeliest_styles(record: Record) -> list[str | None]:
    """Return the style of each picture.

    Records before schema 4 have the class index instead of the name; their destination cells are in the order of the
    classes.
    """
    cells = [name.split("/", 2)[2] for name in record.cells if name.startswith(DESTINATION)]
    styles = dict(enumerate(dict.fromkeys(cells)))
    stored = _columns(record)["likeliest_style"]
    return [style if style is None or isinstance(style, str) else styles.get(int(style)) for style in stored]


def _back_end(record: Record) -> str:
    return next(cell.back_end for name, cell in record.cells.items() if name.startswith(DESTINATION))


def _accuracy(record: Record, parts: Sequence[str]) -> tuple[float, int] | None:
    """Return the share of images of these parts that the oracle assigns to the prompt's style, and their number."""
    columns = _columns(record)
    hits = [
        style == target
        for part, target, style in zip(columns["part"], columns["target"], _likeliest_styles(record), strict=True)
        if part in parts and style is not None
    ]
    return (sum(hits) / len(hits), len(hits)) if hits else None


def _percent(record: Record, value: float, n: int) -> Derived:
    return Derived(100 * value, n, "% of images", _back_end(record))


def _unlearning_accuracy(record: Record, halves: Sequence[str]) -> Derived | None:
    """UA: share of the targets' images that the oracle assigns to a different style."""
    accuracy = _accuracy(record, ("targets",))
    return _percent(record, 1 - accuracy[0], accuracy[1]) if accuracy else None


def _in_domain(record: Record, halves: Sequence[str]) -> Derived | None:
    """IRA: share of the kept artists' images that the oracle assigns to the artist in the prompt."""
    accuracy = _accuracy(record, KEPT_PARTS)
    return _percent(record, *accuracy) if accuracy else None


def _cross_domain(record: Record, halves: Sequence[str]) -> Derived | None:
    """CRA: share of images that show the content of their prompt, over all images with a known content."""
    columns = _columns(record)
    hits = [hit for name in CONTENTS for hit in columns.get(name, ()) if hit is not None]
    return _percent(record, sum(hits) / len(hits), len(hits)) if hits else None


def _harmonic_mean(record: Record, halves: Sequence[str]) -> Derived | None:
    """Harmonic mean of UA, IRA and CRA; 0 if one of them is 0, and None if one of them is missing."""
    scores = [compute(record, halves) for compute in (_unlearning_accuracy, _in_domain, _cross_domain)]
    present = [score for score in scores if score is not None]
    if len(present) < len(scores):
        return None
    lowest = min(score.value for score in present)
    value = len(present) / sum(1 / score.value for score in present) if lowest else 0.0
    return Derived(value, sum(score.n for score in present), present[0].unit, present[0].back_end)


def _kept_style(given: bool) -> Callable[[Record, Sequence[str]], Derived | None]:
    """Return a function that computes the mean kept style over the names that the method received, or did not.

    Each name has the same weight. For a method that does not read names, the mean over `halves` is returned.
    """

    def compute(record: Record, halves: Sequence[str]) -> Derived | None:
        columns = _columns(record)
        styles: dict[str, list[float]] = {}
        for part, target, value in zip(columns["part"], columns["target"], columns.get("kept_style", ()), strict=False):
            if part in KEPT_PARTS and value is not None:
                styles.setdefault(target, []).append(value)
        own_choice = kept_names_of(record)
        means = []
        names: set[str] = set()
        for choice in (own_choice,) if own_choice else halves:
            given_styles = set(given_names(list(styles), choice))
            selected = [name for name in styles if (name in given_styles) == given]
            if not selected:
                return None
            means.append(sum(sum(styles[name]) / len(styles[name]) for name in selected) / len(selected))
            names.update(selected)
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
