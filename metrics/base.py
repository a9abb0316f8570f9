"""Base classes of all metrics, and checks of metric inputs."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class FeatureMetric(Metric):
    """Base class of metrics over features (N, d) of one encoder.

    Features are computed once by an encoder (`metrics/encoders.py`) and stored, so a metric needs neither images nor
    networks. `compute()` returns a float64 scalar.

    With several processes, each process calls `update` with its own rows; their number may differ. A process without
    images must call `update` with zero rows, because every process takes part when results are gathered. Gathered rows
    are in the order of the ranks.

    Arguments:
        back_end: name of the encoder that computed the features, such as "mini-clip-b".
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    stated_for: ClassVar[Literal["targets", "kept"]]
    """The prompts for which `higher_is_better` holds: those of the concept to erase, or those to keep."""
    is_differentiable = False
    full_state_update = False

    def __init__(self, back_end: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.back_end = back_end

    @property
    def full_name(self) -> str:
        """Name and back end, such as "fid[mini]". Tables have separate columns for different back ends."""
        return f"{self.name}[{self.back_end}]"

    @classmethod
    def higher_is_better_for(cls, prompts: Literal["targets", "kept"]) -> bool:
        """Return whether higher is better for these prompts. Targets and kept prompts have opposite directions."""
        return bool(cls.higher_is_better) == (prompts == cls.stated_for)


class ImageMetric(FeatureMetric):
    """Base class of metrics that average one value per image."""

    values: list[Tensor] | Tensor

    def __init__(self, back_end: str, **kwargs: Any) -> None:
        super().__init__(back_end, **kwargs)
        # One-dimensional float32, because torchmetrics uses an empty tensor of this kind for a process without values.
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def _keep(self, values: Tensor) -> None:
        """Add values (N,) in the unit of the metric."""
        assert isinstance(self.values, list)
        self.values.append(values.to(torch.float32))

    def _gathered(self) -> Tensor:
        values = dim_zero_cat(self.values) if len(self.values) else torch.empty(0)
        if len(values) == 0:
            raise ValueError(f"{self.full_name} has no images: call update() before compute()")
        return values

    def compute(self) -> Tensor:
        """Return the mean over all images of all processes."""
        return self._gathered().to(torch.float64).mean()

    def per_image(self) -> Tensor:
        """Return the values (N,) float32 of all images, in the order of updates. Must be called on every process."""
        with self.sync_context():
            return self._gathered().clone()


def check_features(*features: Tensor, size: int | None = None) -> None:
    """Raise ValueError unless all features are finite float tensors (N, d) of the same shape and of width `size`."""
    for tensor in features:
        if tensor.ndim != 2 or not tensor.is_floating_point():
            raise ValueError(f"features must be a float tensor (N, d), not {tensor.dtype} {tuple(tensor.shape)}")
        if tensor.shape != features[0].shape:
            shapes = " and ".join(str(tuple(part.shape)) for part in features)
            raise ValueError(f"features that are compared row by row must have the same shape, not {shapes}")
        if size is not None and tensor.shape[1] != size:
            raise ValueError(f"features must have width {size}, as declared for this metric, not {tensor.shape[1]}")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError("features contain NaN or infinite values: check the encoder and its images")


def unit_rows(features: Tensor) -> Tensor:
    """Return the rows scaled to length 1, in float64. Raises ValueError for a row of zeros, which has no direction."""
    features = features.to(torch.float64)
    lengths: Tensor = features.norm(dim=1, keepdim=True)
    if bool((lengths == 0).any()):
        raise ValueError(
            f"features of row {int((lengths == 0).nonzero()[0, 0])} are all zero, so their cosine is not defined"
        )
    return features / lengths


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """Return the cosines (N,) float64 between row i of `left` and row i of `right`, both (N, d)."""
    check_features(left, right)
    return (unit_rows(left) * unit_rows(right)).sum(dim=1)
