"""Checks suites and metrics of plug-ins before a run starts, and reports every mistake in one sentence."""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from inspect import isclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from benchmark import registry
from benchmark.api.declarations import Column, Use
from benchmark.api.metric import Metric
from benchmark.api.suite import DESTINATION, Suite
from benchmark.errors import PalimpsestError, UsageError
from benchmark.suites.feature_metrics import FEATURE_METRICS
from prompts.concepts import Kind
from prompts.lists import LARGEST_SEED, Prompt

Result = TypeVar("Result")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_ID = re.compile(r"[^/\\\0.][^/\\\0]{0,119}")
RESERVED = ("cost",)
"""Names that tables use internally, and that no suite may have."""
SEE = "see docs/plugins.md"


def metric_class(name: str) -> type[Metric]:
    """Load a metric by name or from `path/to/file.py:Class`. UsageError if suites cannot use it."""
    if name in FEATURE_METRICS:
        return FEATURE_METRICS[name]
    kind = registry.load("metrics", name)
    if not (isclass(kind) and issubclass(kind, Metric)):
        raise UsageError(
            f"Metric '{name}' cannot be used in a suite: its class must inherit from benchmark.api.Metric, {SEE}."
        )
    check_declared(kind, f"Metric '{name}'", ("name", "summary", "columns", "update"), Metric)
    if kind.per_image is Metric.per_image and kind.compute is Metric.compute:
        raise UsageError(f"Metric '{name}' computes no value: define per_image or compute, {SEE}.")
    check_columns(kind.columns, f"Metric '{name}'")
    if not kind.columns:
        raise UsageError(f"Metric '{name}' declares no column: add one to `columns`, {SEE}.")
    _check_texts(kind.encoders, f"Metric '{name}'", "encoders")
    return kind


def check_suite(suite: Any, where: str) -> None:
    """Raise UsageError if a suite lacks an attribute or has an invalid one. The message starts with `where`."""
    check_declared(type(suite), where, ("name", "summary"), Suite, vars(suite))
    if not (isinstance(suite.name, str) and _NAME.fullmatch(suite.name)) or suite.name in RESERVED:
        raise UsageError(
            f"{where} is called {suite.name!r}: use at most 80 letters, digits, dots, dashes and underscores, starting "
            f"with a letter or digit{', and not the reserved name ' + suite.name if suite.name in RESERVED else ''}."
        )
    if not isinstance(suite.summary, str) or not suite.summary.strip():
        raise UsageError(f"{where} has no summary: describe its prompts in one line.")
    if suite.forgets not in get_args(Kind):
        raise UsageError(f"{where}: forgets must be one of {', '.join(get_args(Kind))}, not {suite.forgets!r}.")
    if suite.concept is not None and suite.concept.kind != suite.forgets:
        raise UsageError(f"{where}: forgets is {suite.forgets!r}, but its concept is of kind {suite.concept.kind!r}.")
    for attribute in ("encoders", "brings"):
        _check_texts(getattr(suite, attribute), where, attribute)
    for name in suite.brings:
        if name not in (installed := registry.names("suites")):
            raise registry.unknown(f"suite in `brings` of suite {suite.name!r}:", name, installed)
    check_columns(suite.columns, where)
    for column in suite.columns:
        if column.higher_is_better is not None or column.unit:
            raise UsageError(
                f"{where}: column '{column.key}' sets higher_is_better or unit: leave them out, because `scores.put`, "
                "or the metric that fills this column, sets them."
            )
    if isinstance(suite.metrics, str) or not all(isinstance(use, str | Use) for use in suite.metrics):
        raise UsageError(f'{where}: metrics must be a list of names or of Use(...), such as ("clip",).')
    if type(suite).score is Suite.score and not suite.metrics:
        raise UsageError(f"{where} scores nothing: define `score` or list metrics, {SEE}.")


def check_declared(
    kind: type, where: str, required: Sequence[str], base: type, own: Mapping[str, Any] | None = None
) -> None:
    """Raise UsageError if a class lacks an attribute that has no default in `base`.

    `own` holds attributes that are set on the instance.
    """
    declared = {name for parent in kind.__mro__ if parent not in (base, object) for name in vars(parent)}
    declared |= set(own or ())
    if missing := [name for name in required if name not in declared]:
        raise UsageError(f"{where} lacks {', '.join(missing)}: {SEE}.")


def check_columns(columns: Any, where: str) -> None:
    """Raise UsageError if columns are not `Column` objects, share a key, or have a format that prints no number."""
    if isinstance(columns, str) or not all(isinstance(column, Column) for column in columns):
        raise UsageError(f"{where}: columns must be a list of benchmark.api.Column objects, {SEE}.")
    keys = [column.key for column in columns]
    if repeated := [key for key in keys if keys.count(key) > 1]:
        raise UsageError(f"{where} has two columns with the key '{repeated[0]}': give every column a different key.")
    for column in columns:
        for name in (column.key, column.cell_name):
            if not name or "[" in name or name.startswith(DESTINATION):
                raise UsageError(f"{where}: {name!r} cannot name a column: leave brackets and '{DESTINATION}' out.")
        if not column.header.strip():
            raise UsageError(f"{where}: column '{column.key}' has no header.")
        try:
            format(0.5, column.format)
        except ValueError:
            raise UsageError(
                f"{where}: column '{column.key}' has format {column.format!r}, which prints no number: use a format "
                'such as ".2f".'
            ) from None


def check_prompts(prompts: Any, where: str) -> Sequence[Prompt]:
    """Return a suite's own prompts. UsageError if the list is empty, or a prompt is not valid."""
    if isinstance(prompts, str) or not isinstance(prompts, Sequence) or not prompts:
        raise UsageError(f"{where} has no prompts: `prompts` must return a list of Prompt(...), or None.")
    ids: set[str] = set()
    for number, prompt in enumerate(prompts, 1):
        place = f"{where}, prompt {number}"
        if not isinstance(prompt, Prompt):
            raise UsageError(f"{place} is a {type(prompt).__name__}, but must be a benchmark.api.Prompt.")
        if not _ID.fullmatch(prompt.id):
            raise UsageError(
                f"{place}: the id {prompt.id!r} cannot be a file name: use 1 to 120 letters, no slash, no leading dot."
            )
        if prompt.id in ids:
            raise UsageError(f"{place}: the id {prompt.id!r} is used by an earlier prompt: ids must be unique.")
        if not prompt.text.strip() or not prompt.part.strip():
            raise UsageError(f"{place}: its text or its part is empty.")
        if type(prompt.seed) is not int or not 0 <= prompt.seed <= LARGEST_SEED:
            raise UsageError(f"{place}: the seed {prompt.seed!r} is not an integer from 0 to 2**63 - 1.")
        ids.add(prompt.id)
    return prompts


def check_figures(figures: Any, values: Any, rows: int, keys: Sequence[str], where: str) -> None:
    """Raise UsageError unless a metric returned the values that it declared.

    `figures` must have one finite number for each of the `keys`, and `values` must have `rows` finite numbers per key.
    """
    if not isinstance(figures, Mapping) or set(figures) != set(keys):
        names = ", ".join(map(str, figures)) if isinstance(figures, Mapping) else repr(figures)
        raise UsageError(f"{where} returned values for {names or 'nothing'}, but declares columns {', '.join(keys)}.")
    if undeclared_keys := [key for key in values if key not in keys]:
        raise UsageError(
            f"{where} returned values for '{undeclared_keys[0]}', which is not one of its columns: {', '.join(keys)}."
        )
    for key, column in values.items():
        if len(column) != rows:
            raise UsageError(
                f"{where} returned {len(column)} values of '{key}' for {rows} pictures: return one value per picture."
            )
    for key, figure in [*figures.items(), *((key, value) for key, column in values.items() for value in column)]:
        try:
            is_finite = math.isfinite(figure)
        except (TypeError, ValueError):
            is_finite = False
        if not is_finite:
            raise UsageError(f"{where} returned {figure!r} for '{key}', which is not a finite number.")


def guarded(where: str, call: Callable[[], Result]) -> Result:
    """Call code of a plug-in. Other exceptions than ours become a UsageError that names the file and the line."""
    try:
        return call()
    except PalimpsestError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames[1:] if "site-packages" not in frame.filename]
        frame = (own or frames)[-1]  # a library's line says less than the line that called it
        place = f"{Path(frame.filename).name}, line {frame.lineno}"
        message = " ".join(str(error).split())
        raise UsageError(f"{where} failed in {place} ({type(error).__name__}: {message}).") from error


def _check_texts(value: Any, where: str, attribute: str) -> None:
    if isinstance(value, str) or not all(isinstance(text, str) for text in value):
        raise UsageError(f'{where}: {attribute} must be a list of names, such as ("clip",), not {value!r}.')
