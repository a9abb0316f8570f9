"""CSD: similarity of style between two images."""

from torch import Tensor

from metrics.base import ImageMetric, cosines


class StyleSimilarity(ImageMetric):
    """100 · cos(style(method), style(reference)) on the same prompt and seed, mean over images.

    Style features are those of CSD (Somepalli et al. 2024, arXiv:2404.01292) or of a testbed's own encoder. The
    reference is another model's image or a real image by the artist. Range [-100, 100]. On targets lower is better; on
    kept prompts higher.
    """

    name = "csd"
    unit = "100·cos"
    higher_is_better = False
    stated_for = "targets"

    def update(self, style: Tensor, reference_style: Tensor) -> None:
        """Add pairs of style features (N, d); they need not be normalised. Raises ValueError if the shapes differ."""
        self._keep(100 * cosines(style, reference_style))
