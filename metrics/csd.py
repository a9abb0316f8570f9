"""CSD: how alike two images are in style."""

from torch import Tensor

from metrics.base import ImageMetric, cosines


class StyleSimilarity(ImageMetric):
    """100 · cos(style(method), style(reference)) on the same prompt and seed, mean over images.

    The style descriptor is that of CSD (Somepalli et al. 2024, arXiv:2404.01292) or a testbed's own. The reference is
    another model's image or a real image of the artist. Range [-100, 100]. On targets lower is better; on kept prompts
    higher.
    """

    name = "csd"
    unit = "100·cos"
    higher_is_better = False
    stated_for = "targets"

    def update(self, style: Tensor, reference_style: Tensor) -> None:
        """Adds pairs of style features (N, d), any length. ValueError if their shapes differ."""
        self._keep(100 * cosines(style, reference_style))
