"""CLIP score: how well an image shows what its prompt asks for."""

from torch import Tensor

from metrics.base import ImageMetric, cosines


class CLIPSimilarity(ImageMetric):
    """100 · cos(image, text), mean over images (CLIPScore, Hessel et al. 2021, arXiv:2104.08718, without its clamp).

    A negative cosine stays negative: cut at 0, an image that contradicts its prompt would look like an unrelated one.
    Range [-100, 100]. On kept prompts higher is better; on targets lower.
    """

    name = "clip"
    unit = "100·cos"
    higher_is_better = True
    stated_for = "kept"

    def update(self, image_features: Tensor, text_features: Tensor) -> None:
        """Adds images and their prompts: features (N, d) of one CLIP model, any length. ValueError if shapes differ."""
        self._keep(100 * cosines(image_features, text_features))
