"""Makes the built-in torchmetrics metrics usable in any suite, by passing them the features that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from benchmark.api.declarations import Column
from benchmark.api.metric import Metric
from benchmark.errors import UsageError
from benchmark.suites.scoring import make_metric

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.api.suite import Evidence, Side


FORGOTTEN = ("targets", "implicit", "probes")
"""Parts whose prompts ask for the concept to forget, by name or implicitly. All other prompts ask for what must be
kept."""


class FeatureMetricOfSuites(Metric):
    """A built-in metric.

    Whether higher is better depends on the prompts. It is None if some ask for the concept to forget and others do not.
    """

    metric: Any

    def _begin(self, evidence: Evidence, rows: Sequence[int], *sizes: int) -> None:
        """Create the torchmetrics metric, and set the column's `higher_is_better` for these rows."""
        self.metric = make_metric(self.name, evidence.testbed.networks[self.encoders[0]], *sizes)
        sides: set[Side] = {"targets" if evidence.prompts[row].part in FORGOTTEN else "kept" for row in rows}
        better = self.metric.higher_is_better_for(next(iter(sides))) if len(sides) == 1 else None
        self.columns = [replace(column, higher_is_better=better, unit=self.metric.unit) for column in self.columns]

    def per_image(self) -> Mapping[str, Sequence[float]]:
        return {self.name: self.metric.per_image().double().tolist()}

    def compute(self) -> Mapping[str, float]:
        return {self.name: float(self.metric.compute())}


Pair = tuple[Literal["own", "reference", "base"], str]


class Paired(FeatureMetricOfSuites):
    """A metric that compares features row by row."""

    reads: ClassVar[Sequence[Pair]]
    """Arguments of `update`, as pairs of a model and a network whose features are passed."""

    def update(self, evidence: Evidence, rows: Sequence[int]) -> None:
        self._begin(evidence, rows)
        features = {"own": evidence.own, "reference": evidence.reference, "base": evidence.base}
        self.metric.update(*(features[side][job][list(rows)] for side, job in self.reads))


class Clip(Paired):
    name, encoders, reads = "clip", ("clip",), (("own", "clip"), ("own", "text"))
    columns = (Column("clip", "CLIP"),)


class Cp(Paired):
    name, encoders, reads = "cp", ("clip",), (("own", "clip"), ("reference", "clip"), ("own", "text"))
    columns = (Column("cp", "CP", relative=True),)


class Csd(Paired):
    name, encoders, reads = "csd", ("style",), (("own", "style"), ("reference", "style"))
    columns = (Column("csd", "CSD", relative=True),)


class Drift(Paired):
    name, encoders, reads = "drift", ("features",), (("own", "features"), ("base", "features"))
    columns = (Column("drift", "drift", format=".3f"),)


class Oracle(FeatureMetricOfSuites):
    name, encoders = "oracle", ("oracle",)
    columns = (Column("oracle", "asked style", format=".3f"),)

    def update(self, evidence: Evidence, rows: Sequence[int]) -> None:
        """Score the probability of the target's style, or of the plain style for prompts without a target."""
        import torch

        styles, targets = evidence.testbed.styles, [evidence.prompts[row].target for row in rows]
        if unknown_targets := sorted({target for target in targets if target and target not in styles}):
            raise UsageError(
                f"Metric 'oracle' cannot score target {unknown_targets[0]!r} of the suite's prompts, because the "
                "testbed's oracle has no class for this style: limit the metric to other parts."
            )
        self._begin(evidence, rows, len(styles))
        labels = torch.tensor([styles.index(target) if target else 0 for target in targets])
        self.metric.update(evidence.own["oracle"][list(rows), : len(styles)], labels)


class Distance(FeatureMetricOfSuites):
    """A distance between the distributions of sampled pictures and of held-out real pictures."""

    encoders = ("features",)
    reads_pictures: ClassVar[bool] = False
    """Whether its standard error is computed from the features of the pictures."""

    def update(self, evidence: Evidence, rows: Sequence[int]) -> None:
        real, features = evidence.testbed.real(evidence.store), evidence.own["features"][list(rows)]
        self._begin(evidence, rows, real.shape[1])
        self.metric.update(real, real=True)
        self.metric.update(features, real=False)
        self._error = self._standard_error(features)

    def _standard_error(self, features: Tensor) -> float:
        return float(self.metric.standard_error(*([features] if self.reads_pictures else [])))

    def per_image(self) -> Mapping[str, Sequence[float]]:
        return {}

    def intervals(self) -> Mapping[str, tuple[float, float]]:
        value = self.compute()[self.name]
        return {self.name: (value - 1.96 * self._error, value + 1.96 * self._error)}


class Fid(Distance):
    name, reads_pictures = "fid", True
    columns = (Column("fid", "FID"),)


class Kid(Distance):
    name = "kid"
    columns = (Column("kid", "KID", format=".4g"),)


FEATURE_METRICS: Mapping[str, type[Metric]] = {kind.name: kind for kind in (Clip, Cp, Csd, Drift, Oracle, Fid, Kid)}
"""Built-in metrics by name."""
