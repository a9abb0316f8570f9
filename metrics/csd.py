"""CSD score: similarity of style between two images."""

from torch import Tensor

from metrics.base import ImageMetric, cosines


class StyleSimilarity(ImageMetric):
    """CSD score: 100 · cos(style of method's image, style of reference image), averaged over images.

    Style features come from CSD (Somepalli et al. 2024, arXiv:2404.01292) or from the testbed's style encoder. The
    reference is the image of a different model for the same prompt and seed, or a real image by the artist. Range
    [-100, 100]. Lower is better for targets, higher for kept prompts.
    """

    name = "csd"
    unit = "100·cos"
    higher_is_better = False
    stated_for = "targets"

    def update(self, style: Tensor, reference_style: Tensor) -> None:
        """Add pairs of style features (N, d), which need not be normalised. Raises ValueError if the shapes differ."""
        self._keep(100 * cosines(style, reference_style))
