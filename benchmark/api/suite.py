"""Suites: which prompts are asked, which networks look at the pictures, and which cells come of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from benchmark.api.declarations import Column, Use
from benchmark.errors import DataError
from benchmark.json_types import Identity
from benchmark.records.record import Cell
from benchmark.stats import bootstrap_interval
from prompts.concepts import DEFAULT_KIND

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.api.testbed import Testbed
    from benchmark.store.artefacts import Store
    from metrics.base import FeatureMetric
    from prompts.concepts import Concept, Kind
    from prompts.lists import Prompt


DESTINATION = "destination/"
"""Cells `destination/<asked artist>/<style>`: share of the images asked of one that the oracle gives to the other."""


Side = Literal["targets", "kept"]


@dataclass(frozen=True)
class Evidence:
    """What a suite scores, row by row: features of three models, same prompts and seeds; "text" is of the prompts."""

    testbed: Testbed
    store: Store
    concept: Concept
    prompts: Sequence[Prompt]
    own: dict[str, Tensor]
    reference: dict[str, Tensor]
    base: dict[str, Tensor]

    def rows(self, *parts: str) -> list[int]:
        """Numbers of the prompts of these parts, from 0."""
        return [k for k, prompt in enumerate(self.prompts) if prompt.part in parts]


@dataclass
class Scores:
    """Cells for the record, and a value an image for each column of its parquet file."""

    count: int
    cells: dict[str, Cell] = field(default_factory=dict)
    columns: dict[str, list[float | None]] = field(default_factory=dict)
    world: Identity = field(default_factory=dict)
    """What the cells stand on beyond the testbed's identity, for the record's `world`."""

    def add(
        self,
        name: str,
        metric: FeatureMetric,
        side: Side,
        n: int,
        of: int,
        rows: Sequence[int] = (),
        error: float | None = None,
    ) -> None:
        """Cell `name` from a metric that has seen its images; with `rows`, their values are kept one by one."""
        values: list[float] = []
        if rows:
            image_metric: Any = metric
            values = image_metric.per_image().double().tolist()
            self.keep(name, rows, values)
        self.put(
            name,
            float(metric.compute()),
            n,
            of,
            metric.unit,
            metric.higher_is_better_for(side),
            metric.back_end,
            values,
            error,
        )

    def keep(self, name: str, rows: Sequence[int], values: Sequence[float]) -> None:
        """A value an image, in column `name`."""
        column = self.columns.setdefault(name, [None] * self.count)
        for row, value in zip(rows, values, strict=True):
            column[row] = value

    def put(
        self,
        name: str,
        value: float,
        n: int,
        of: int,
        unit: str,
        better: bool | None,
        back_end: str,
        values: Sequence[float] = (),
        error: float | None = None,
        interval: tuple[float, float] | None = None,
    ) -> None:
        """A cell from figures; its interval as given, from the values an image, or from a standard error.

        DataError for a figure or an end of its interval that is not finite, as no table can show it.
        """
        if interval is None:
            interval = bootstrap_interval(values) if error is None else (value - 1.96 * error, value + 1.96 * error)
        if not all(map(math.isfinite, (value, *(interval or ())))):
            raise DataError(
                f"The score '{name}' or its interval is not finite (NaN or infinity): the network {back_end} gives "
                "features that are too large to be compared; it is damaged or another network: name another in the "
                "testbed's file."
            )
        cell = Cell(value=value, n=n, of=of, unit=unit, higher_is_better=better, back_end=back_end, ci=interval)
        self.cells[name] = cell


class Suite:
    """Prompts that models are asked for, and the scores of their pictures.

    A subclass declares `name` and `summary`, and has a `score`, or lists `metrics`, or both. It is made without
    arguments.
    """

    name: str
    """Letters, digits, dots, dashes and underscores: it is part of the names of files."""
    summary: str
    """One line for `bench list suites`."""
    encoders: Sequence[str] = ()
    """Jobs of the testbed's networks that look at the pictures; those that the testbed lacks are left out."""
    brings: Sequence[str] = ()
    """Suites that are run too, because their figures belong into the same table."""
    forgets: Kind = DEFAULT_KIND
    """The kind of concept that a method erases when it is run on this suite."""
    explicit: bool = False
    """Whether pictures may be explicit: they are kept from other users of the machine, and blurred on sheets."""
    metrics: Sequence[str | Use] = ()
    """Metrics whose cells are added to those of `score`: names, or path/to/file.py:Class, relative to the suite's own
    file; a `Use` limits one to parts of the prompts, and names its cells."""
    columns: Sequence[Column] = ()
    """Columns of its table, in order. Cells that neither the suite nor a metric declares appear under "Further
    metrics" of `bench table --long`. Of built-in suites, benchmark/tables/columns.py has the columns."""

    def prompts(self, testbed: Testbed, concept: Concept) -> Sequence[Prompt] | None:
        """The suite's own prompts, in the order in which they are sampled; None for the testbed's prompts of a suite
        with this name.

        Ids are unique. Parts are words of the suite's own; "targets", "implicit" and "probes" ask for what is to be
        forgotten, all others for what is to be kept.
        """
        return None

    def score(self, evidence: Evidence) -> Scores:
        """Score one model's pictures; no cells by default, for a suite that is scored by its `metrics` alone."""
        return Scores(len(evidence.prompts))
