"""Drift: distance between the images of a model and those of the base model."""

from torch import Tensor

from metrics.base import ImageMetric, check_features, unit_rows


class Drift(ImageMetric):
    """Drift: 1 − cos(model's image, base model's image) for the same prompt and seed, averaged over images.

    It is computed as half the squared distance between features scaled to length 1, because 1 − cos loses precision
    when images hardly differ. Range [0, 2]; exactly 0 for an unchanged model. Lower is better for kept prompts, higher
    for targets.
    """

    name = "drift"
    unit = "1 − cos"
    higher_is_better = False
    stated_for = "kept"

    def update(self, features: Tensor, base_features: Tensor) -> None:
        """Add pairs of features (N, d), which need not be normalised. Raises ValueError if the shapes differ."""
        check_features(features, base_features)
        self._keep((unit_rows(features) - unit_rows(base_features)).square().sum(dim=1) / 2)
