"""CP score: on how many prompts a method shows the target less than a reference does."""

import torch
from torch import Tensor

from metrics.base import ImageMetric, cosines


class CPScore(ImageMetric):
    """Share of prompts, in percent, with cos(method's image, text) < cos(reference's image, text), strictly.

    Defined as in ConceptPrune (Chavhan et al. 2024, arXiv:2405.19237). A tie is no success: a method that changes
    nothing scores 0, not 50. An unrelated model scores near 50, so 50 is no achievement. Range [0, 100].
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
        """Adds pairs of images of the same prompt and seed: CLIP features (N, d) each. ValueError if shapes differ."""
        method, reference = cosines(method_image, text), cosines(reference_image, text)
        self._keep(100.0 * (method < reference))
        self.tied += (method == reference).sum()

    @property
    def ties(self) -> int:
        """Number of prompts on which both images are equally near to the text; call it on every process."""
        with self.sync_context():
            return int(self.tied)
