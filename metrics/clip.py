"""CLIP score: how well an image matches its prompt."""

from torch import Tensor

from metrics.base import ImageMetric, cosines


class CLIPSimilarity(ImageMetric):
    """CLIP score: 100 · cos(image, text), averaged over images.

    Source: CLIPScore, Hessel et al. 2021 (arXiv:2104.08718), except that negative cosines are not set to 0. So an image
    that contradicts its prompt scores lower than an unrelated image. Range [-100, 100]. Higher is better for kept
    prompts, lower for targets.
    """

    name = "clip"
    unit = "100·cos"
    higher_is_better = True
    stated_for = "kept"

    def update(self, image_features: Tensor, text_features: Tensor) -> None:
        """Add features (N, d) of images and of their prompts, from the same CLIP model. They need not be normalised.

        Raises ValueError if the shapes differ.
        """
        self._keep(100 * cosines(image_features, text_features))
