"""Drift: how far a model's images have moved from those of the base model."""

from torch import Tensor

from metrics.base import ImageMetric, check_features, unit_rows


class Drift(ImageMetric):
    """1 − cos between features of a model's and the base model's image of the same prompt and seed, mean over images.

    It is half the squared distance of the features scaled to length one, and computed so, because 1 − cos loses its
    digits where images hardly differ. Exactly 0 for an unchanged model; range [0, 2].
    """

    name = "drift"
    unit = "1 − cos"
    higher_is_better = False
    stated_for = "kept"

    def update(self, features: Tensor, base_features: Tensor) -> None:
        """Adds pairs of features (N, d), any length. ValueError if their shapes differ."""
        check_features(features, base_features)
        self._keep((unit_rows(features) - unit_rows(base_features)).square().sum(dim=1) / 2)
