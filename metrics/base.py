"""What all metrics share: their contract, their checks, and the states of those that are a mean over images."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class FeatureMetric(Metric):
    """A metric over features (N, d) of one back end.

    Features are made once by an encoder (`metrics/encoders.py`) and kept, so a metric needs neither images nor
    networks. With several processes each updates with its own share, of any size; a share without images is an update
    with zero rows, since every process must take part when results are gathered. Whatever is gathered lies in the
    order of the ranks. `compute()` returns a float64 scalar.

    Arguments:
        back_end: name of the encoder that made the features, such as "mini-clip-b".
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    stated_for: ClassVar[Literal["targets", "kept"]]
    """The prompts for which `higher_is_better` is meant: those of the concept to forget, or those that must survive."""
    is_differentiable = False
    full_state_update = False

    def __init__(self, back_end: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.back_end = back_end

    @property
    def full_name(self) -> str:
        """Name and back end, "fid[mini]": values of different back ends never stand in one column."""
        return f"{self.name}[{self.back_end}]"

    @classmethod
    def higher_is_better_for(cls, prompts: Literal["targets", "kept"]) -> bool:
        """The metric's direction on these prompts: what is good on kept prompts is bad on targets, and vice versa."""
        return bool(cls.higher_is_better) == (prompts == cls.stated_for)


class ImageMetric(FeatureMetric):
    """The mean of one value an image."""

    values: list[Tensor] | Tensor

    def __init__(self, back_end: str, **kwargs: Any) -> None:
        super().__init__(back_end, **kwargs)
        # One-dimensional float32 on purpose: that is what torchmetrics makes up for a process that has no value.
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def _keep(self, values: Tensor) -> None:
        """Adds values (N,), in the metric's unit."""
        assert isinstance(self.values, list)
        self.values.append(values.to(torch.float32))

    def _gathered(self) -> Tensor:
        values = dim_zero_cat(self.values) if len(self.values) else torch.empty(0)
        if len(values) == 0:
            raise ValueError(f"{self.full_name} has seen no image: call update() before asking for a result")
        return values

    def compute(self) -> Tensor:
        """The mean over all images of all processes."""
        return self._gathered().to(torch.float64).mean()

    def per_image(self) -> Tensor:
        """The values (N,) float32 whose mean is `compute()`, in the order of updates; call it on every process."""
        with self.sync_context():
            return self._gathered().clone()


def check_features(*features: Tensor, size: int | None = None) -> None:
    """Refuses, by ValueError, what is not (N, d), not of one shape, not `size` wide, or holds NaN or infinity."""
    for tensor in features:
        if tensor.ndim != 2 or not tensor.is_floating_point():
            raise ValueError(f"features must be a float tensor (N, d), not {tensor.dtype} {tuple(tensor.shape)}")
        if tensor.shape != features[0].shape:
            shapes = " and ".join(str(tuple(each.shape)) for each in features)
            raise ValueError(f"features that are compared row by row must have one shape, not {shapes}")
        if size is not None and tensor.shape[1] != size:
            raise ValueError(f"features must be {size} wide, as the metric was made for, not {tensor.shape[1]}")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError("features hold NaN or infinite values: the encoder or its images are broken")


def unit_rows(features: Tensor) -> Tensor:
    """Rows scaled to length one, in float64; a row of zeros has no direction and is refused by ValueError."""
    features = features.to(torch.float64)
    lengths = features.norm(dim=1, keepdim=True)
    if bool((lengths == 0).any()):
        raise ValueError(f"features of row {int((lengths == 0).nonzero()[0, 0])} are all zero: no angle is defined")
    return features / lengths


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of the angle between row i of `left` and row i of `right`, both (N, d): (N,) float64."""
    check_features(left, right)
    return (unit_rows(left) * unit_rows(right)).sum(dim=1)
