"""What an oracle (a classifier that serves nothing else) sees: is the asked there, and what stands in its place."""

from typing import NamedTuple

import torch
from torch import Tensor

from metrics.base import ImageMetric, check_features


class Destinations(NamedTuple):
    """Where images went, class by class; both (C,) float64 and summing to one."""

    probability: Tensor
    """Mean probability of each class."""
    share: Tensor
    """Share of images in which each class is the likeliest."""


class ClassProbability(ImageMetric):
    """Mean probability that the oracle gives the class that the prompt asks for.

    Not an accuracy: an image that still looks half like the target counts half. `destinations()` tells what the others
    became, since turning every van Gogh into a Munch is not forgetting. Range [0, 1]. On kept prompts higher is
    better; on targets lower.

    Arguments:
        back_end: name of the oracle, such as "mini-style".
        classes: number C of its classes.
    """

    name = "oracle"
    unit = "probability"
    higher_is_better = True
    stated_for = "kept"

    probabilities: Tensor
    wins: Tensor
    hits: Tensor

    def __init__(self, back_end: str, classes: int) -> None:
        super().__init__(back_end)
        self.classes = classes
        self.add_state("probabilities", default=torch.zeros(classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("wins", default=torch.zeros(classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("hits", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, asked: Tensor) -> None:
        """Adds images: probabilities (N, C), rows summing to one, and the index (N,) int64 of the asked class.

        ValueError for other shapes, for rows that are no distribution (logits, say) and for indices outside 0..C-1.
        """
        check_features(probabilities, size=self.classes)
        if asked.shape != probabilities.shape[:1] or asked.dtype != torch.int64:
            raise ValueError(f"asked must be int64 ({len(probabilities)},), not {asked.dtype} {tuple(asked.shape)}")
        if bool(((asked < 0) | (asked >= self.classes)).any()):
            raise ValueError(f"asked must lie in 0..{self.classes - 1}")
        probabilities = probabilities.to(torch.float64)
        if bool((probabilities < 0).any()) or bool(((probabilities.sum(dim=1) - 1).abs() > 1e-3).any()):
            raise ValueError("probabilities must not be negative and their rows must sum to one: are they logits?")
        likeliest = probabilities.argmax(dim=1)
        self._keep(probabilities.gather(1, asked[:, None])[:, 0])
        self.probabilities += probabilities.sum(dim=0)
        self.wins += torch.bincount(likeliest, minlength=self.classes)
        self.hits += (likeliest == asked).sum()

    def destinations(self) -> Destinations:
        """What all images became; call it on every process. ValueError if there are none."""
        with self.sync_context():
            n = len(self._gathered())
            return Destinations(self.probabilities / n, self.wins.to(torch.float64) / n)

    def accuracy(self) -> float:
        """Share of images whose likeliest class is the asked one; call it on every process. ValueError if none."""
        with self.sync_context():
            return int(self.hits) / len(self._gathered())
