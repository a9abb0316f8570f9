"""The base class of metrics, which any suite can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmark.api.declarations import Column

if TYPE_CHECKING:
    from benchmark.api.suite import Evidence
    from metrics.encoders import Encoder


class Metric:
    """Computes one or several scores from a model's pictures.

    A subclass declares `name`, `summary`, `columns` and `update`, and implements `per_image` or `compute`.
    A new instance is created without arguments for each model, and `update` is called once.
    """

    name: str
    summary: str
    """One line for `bench list metrics`."""
    columns: Sequence[Column]
    """Columns of its scores: key, header, direction, format and unit."""
    encoders: Sequence[str] = ()
    """Networks whose features it reads, by their job in the testbed, such as "clip" or "features". A testbed that lacks
    one of them cannot use the metric. The names of the networks are stored in its cells."""

    def networks(self, device: str) -> Mapping[str, Encoder]:
        """Return the metric's own networks by job, which read the pixels of the pictures (`Suite.networks`).

        Their features are in `evidence.own[job]`. A network can be plain arithmetic. If it reads files, every change
        of the files must change its name, because features are stored by the name and the checksum of the metric's
        file. Called on an instance that scores no pictures.
        """
        return {}

    def update(self, evidence: Evidence, rows: Sequence[int]) -> None:
        """Read the features of the pictures with these row numbers.

        `evidence.own["clip"][rows]` are features (N, d) float32 of the model's pictures. `evidence.reference` and
        `evidence.base` are those of the reference and the base for the same prompts and seeds. `evidence.own["text"]`
        are CLIP features of the prompts, and `evidence.prompts[row]` is a prompt itself.
        """
        raise NotImplementedError

    def per_image(self) -> Mapping[str, Sequence[float]]:
        """Return one value per row, in their order, for each column's key; leave out scores that are not means.

        95 % intervals and tests over prompts are computed from these values, which are stored next to the record.
        """
        return {}

    def compute(self) -> Mapping[str, float]:
        """Return the score of each column, by key. A column that is left out has the mean of its values per image."""
        return {key: sum(values) / len(values) for key, values in self.per_image().items()}

    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """Return 95 % intervals of scores without values per picture, by the column's key; empty if there are none."""
        return {}
