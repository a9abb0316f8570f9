"""Metrics that any suite can be scored by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmark.api.declarations import Column

if TYPE_CHECKING:
    from benchmark.api.suite import Evidence


class Metric:
    """One or several figures of a model's pictures.

    A subclass declares `name`, `summary`, `columns` and `update`, and has a `per_image` or a `compute`. It is made
    without arguments, anew for each model; `update` is called once.
    """

    name: str
    summary: str
    """One line for `bench list metrics`."""
    columns: Sequence[Column]
    """Columns of its figures: key, header, direction, format and unit."""
    encoders: Sequence[str] = ()
    """Jobs of the testbed's networks whose features it reads, such as "clip" or "features"; it is refused on a testbed
    that lacks one of them. Their names stand in its cells."""

    def update(self, evidence: Evidence, rows: Sequence[int]) -> None:
        """Look at the pictures of these rows.

        `evidence.own["clip"][rows]` are features (N, d) float32 of the model's own pictures, `evidence.reference` and
        `evidence.base` those of the reference and the base for the same prompts and seeds, `evidence.own["text"]`
        CLIP's features of the prompts, and `evidence.prompts[row]` the prompts themselves.
        """
        raise NotImplementedError

    def per_image(self) -> Mapping[str, Sequence[float]]:
        """Return one value per row for each column's key, in the order of the rows; leave out columns of other figures.

        These values give 95 % intervals and tests over prompts, and are kept beside the record.
        """
        return {}

    def compute(self) -> Mapping[str, float]:
        """Return the figure of each column, by key. A column that is left out has the mean of its values per image."""
        return {key: sum(values) / len(values) for key, values in self.per_image().items()}

    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """For columns without values a picture, 95 % intervals of their figures, where there are any."""
        return {}
