"""The base class of suites, what they score, and the cells that they return."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    from metrics.encoders import Encoder
    from prompts.concepts import Concept, Kind
    from prompts.lists import Prompt


DESTINATION = "destination/"
"""Prefix of cells `destination/<artist>/<style>`: the share of the images prompted with an artist that the oracle
assigns to a style."""


Side = Literal["targets", "kept"]


@dataclass(frozen=True)
class Evidence:
    """The features that a suite scores, one row per prompt, of three models with the same prompts and seeds.

    `own` are features of the scored model. Keys are jobs of the testbed's networks and of `Suite.networks`; "text" are
    features of the prompts.
    """

    testbed: Testbed
    store: Store
    concept: Concept
    prompts: Sequence[Prompt]
    own: dict[str, Tensor]
    reference: dict[str, Tensor]
    base: dict[str, Tensor]

    def rows(self, *parts: str) -> list[int]:
        """Return the row numbers, from 0, of the prompts that belong to these parts."""
        return [k for k, prompt in enumerate(self.prompts) if prompt.part in parts]


@dataclass
class Scores:
    """Cells for the record, and for each column of its parquet file one value per image."""

    count: int
    cells: dict[str, Cell] = field(default_factory=dict)
    columns: dict[str, list[float | None]] = field(default_factory=dict)
    names: dict[str, list[str | None]] = field(default_factory=dict)
    """Further columns of the parquet file with one name per image, such as the artist whose style it shows."""
    world: Identity = field(default_factory=dict)
    """Everything that the cells depend on in addition to the testbed's identity; stored in the record's `world`."""

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
        """Add cell `name` from a metric that has read its images.

        With `rows`, the metric's values for these rows are stored too, one per image. The other arguments are those of
        `put`.
        """
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
        """Store one value per image, for the given rows of column `name`."""
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
        """Add cell `name` with a value and its 95 % interval.

        The interval is `interval` if given, else value ± 1.96 `error` if `error` (a standard error) is given, else a
        bootstrap interval of `values`, one per image.

        Raises:
            DataError: the value or an end of its interval is not finite, so that no table could show it.
        """
        if interval is None:
            interval = bootstrap_interval(values) if error is None else (value - 1.96 * error, value + 1.96 * error)
        if not all(map(math.isfinite, (value, *(interval or ())))):
            raise DataError(
                f"The score '{name}' or its interval is not finite (NaN or infinity): the features of {back_end} "
                "are too large to be compared. The network is damaged or not the intended one: name a "
                "different one in the testbed's file."
            )
        cell = Cell(value=value, n=n, of=of, unit=unit, higher_is_better=better, back_end=back_end, ci=interval)
        self.cells[name] = cell


class Suite:
    """A set of prompts, and the scores of the pictures that models generate from them.

    A subclass declares `name` and `summary`, and implements `score`, or lists `metrics`, or both. Instances are created
    without arguments.
    """

    name: str
    """Letters, digits, dots, dashes and underscores, because it is part of file names."""
    summary: str
    """One line for `bench list suites`."""
    encoders: Sequence[str] = ()
    """Networks that compute features, by their job in the testbed; those that the testbed lacks are skipped."""
    brings: Sequence[str] = ()
    """Suites that are also run, because their scores belong in the same table."""
    forgets: Kind = DEFAULT_KIND
    """The kind of concept that a method erases when it is run on this suite."""
    concept: Concept | None = None
    """The concept that methods erase when they are run on this suite, for suites that bring it; its kind is `forgets`.
    If None, the testbed determines the concept."""
    explicit: bool = False
    """Whether pictures may be explicit. If so, other users of the machine cannot read them, and sheets blur them."""
    metrics: Sequence[str | Use] = ()
    """Metrics whose cells are added to those of `score`: names, or path/to/file.py:Class relative to the suite's file.
    A `Use` limits a metric to parts of the prompts, and names its cells."""
    columns: Sequence[Column] = ()
    """Columns of its table, in order. Cells that neither the suite nor a metric declares appear under "Further
    metrics" of `bench table --long`. Columns of built-in suites are declared in benchmark/tables/columns.py."""

    def prompts(self, testbed: Testbed, concept: Concept) -> Sequence[Prompt] | None:
        """Return the suite's prompts in the order in which they are sampled; None to use the testbed's prompts for a
        suite with this name.

        Ids must be unique. A suite can choose the names of its parts. Prompts of the parts "targets", "implicit" and
        "probes" are for concepts to erase, those of all other parts for concepts to keep.
        """
        return None

    def checksums(self) -> Mapping[str, str]:
        """Return the sha256 of files, besides the suite's own file and prompts, that scores depend on.

        Records state them by their keys. UsageError or DataError if a file is missing.
        """
        return {}

    def networks(self, device: str) -> Mapping[str, Encoder]:
        """Return the suite's own networks by job, which compute features in addition to those in `encoders`.

        A job must not be one of the testbed's. Every change of the features must change the name of the network,
        because features are stored by it.
        """
        return {}

    def check(self, testbed: Testbed, prompts: Sequence[Prompt]) -> None:
        """Raise UsageError or DataError if pictures of this testbed cannot be scored; called before any training."""

    def score(self, evidence: Evidence) -> Scores:
        """Score one model's pictures. By default there are no cells, for suites that only list `metrics`."""
        return Scores(len(evidence.prompts))
