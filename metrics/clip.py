"""CLIP score: how well an image matches its prompt."""

from torch import Tensor

from metrics.base import ImageMetric, cosines


class CLIPSimilarity(ImageMetric):
    """100 · cos(image, text), mean over images (CLIPScore, Hessel et al. 2021, arXiv:2104.08718, without its clamp).

    Negative cosines are not set to 0, so that an image that contradicts its prompt differs from an unrelated image.
    Range [-100, 100]. On kept prompts higher is better; on targets lower.
    """

    name = "clip"
    unit = "100·cos"
    higher_is_better = True
    stated_for = "kept"

    def update(self, image_features: Tensor, text_features: Tensor) -> None:
        """Add features (N, d) of images and of their prompts, from the same CLIP model; they need not be normalised.

        Raises ValueError if the shapes differ.
        """
        self._keep(100 * cosines(image_features, text_features))
