"""CP score: share of prompts for which a method's image shows the target less than the reference's image."""

import torch
from torch import Tensor

from metrics.base import ImageMetric, cosines


class CPScore(ImageMetric):
    """CP score: percentage of prompts with cos(method's image, text) < cos(reference's image, text).

    Source: ConceptPrune, Chavhan et al. 2024 (arXiv:2405.19237). The inequality is strict, so a method that changes
    nothing scores 0. An unrelated model scores about 50, so a score of 50 does not show any forgetting. Range [0, 100].
    Higher is better for targets.
    """

    name = "cp"
    unit = "%"
    higher_is_better = True
    stated_for = "targets"

    tied: Tensor

    def __init__(self, back_end: str) -> None:
        super().__init__(back_end)
        self.add_state("tied", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, method_image: Tensor, reference_image: Tensor, text: Tensor) -> None:
        """Add CLIP features (N, d) of the images of two models for the same prompts and seeds, and of the prompts.

        Raises ValueError if the shapes differ.
        """
        method, reference = cosines(method_image, text), cosines(reference_image, text)
        self._keep(100.0 * (method < reference))
        self.tied += (method == reference).sum()

    @property
    def ties(self) -> int:
        """Number of prompts for which both images have the same cosine to the text. Must be read on every process."""
        with self.sync_context():
            return int(self.tied)
