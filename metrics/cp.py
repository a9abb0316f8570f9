"""CP score: the share of prompts on which a method shows the target less than a reference."""

import torch
from torch import Tensor

from metrics.base import ImageMetric, cosines


class CPScore(ImageMetric):
    """Share of prompts, in percent, with cos(method's image, text) < cos(reference's image, text), strictly.

    Defined as in ConceptPrune (Chavhan et al. 2024, arXiv:2405.19237). A tie does not count: a method that changes
    nothing scores 0. An unrelated model scores about 50, so 50 does not show any forgetting. Range [0, 100].
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
        """Add CLIP features (N, d) of two models' images for the same prompts and seeds, and of the prompts.

        Raises ValueError if the shapes differ.
        """
        method, reference = cosines(method_image, text), cosines(reference_image, text)
        self._keep(100.0 * (method < reference))
        self.tied += (method == reference).sum()

    @property
    def ties(self) -> int:
        """Number of prompts for which both images have the same cosine to the text; read it on every process."""
        with self.sync_context():
            return int(self.tied)
