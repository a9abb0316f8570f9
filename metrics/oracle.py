"""Class probabilities of an oracle, a classifier that is used only for evaluation."""

from typing import NamedTuple

import torch
from torch import Tensor

from metrics.base import ImageMetric, check_features


class Destinations(NamedTuple):
    """Distribution of images over the classes. Both tensors are (C,) float64 and sum to 1."""

    probability: Tensor
    """Mean probability of each class."""
    share: Tensor
    """Share of images for which each class is the most probable."""


class ClassProbability(ImageMetric):
    """Oracle score: mean probability that the oracle assigns to the class named in the prompt.

    The score is not an accuracy: an image with probability 0.5 counts as half. `destinations()` returns the classes
    that images are assigned to, because turning every van Gogh into a Munch is not forgetting. Range [0, 1]. Higher is
    better for kept prompts, lower for targets.

    Arguments:
        back_end: name of the oracle, such as "mini-style".
        classes: number C of classes of the oracle.
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

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add class probabilities (N, C) of images, whose rows sum to 1, and the classes (N,) int64 of the prompts.

        Raises ValueError for other shapes, for rows that are not a distribution (such as logits), and for classes
        outside 0..C-1.
        """
        check_features(probabilities, size=self.classes)
        if labels.shape != probabilities.shape[:1] or labels.dtype != torch.int64:
            raise ValueError(f"labels must be int64 ({len(probabilities)},), not {labels.dtype} {tuple(labels.shape)}")
        if bool(((labels < 0) | (labels >= self.classes)).any()):
            raise ValueError(f"labels must lie in 0..{self.classes - 1}")
        probabilities = probabilities.to(torch.float64)
        if bool((probabilities < 0).any()) or bool(((probabilities.sum(dim=1) - 1).abs() > 1e-3).any()):
            raise ValueError("probabilities must not be negative and their rows must sum to 1: are they logits?")
        likeliest = probabilities.argmax(dim=1)
        self._keep(probabilities.gather(1, labels[:, None])[:, 0])
        self.probabilities += probabilities.sum(dim=0)
        self.wins += torch.bincount(likeliest, minlength=self.classes)
        self.hits += (likeliest == labels).sum()

    def destinations(self) -> Destinations:
        """Return the distribution of all images over the classes. Must be called on every process.

        Raises ValueError if there are no images.
        """
        with self.sync_context():
            n = len(self._gathered())
            return Destinations(self.probabilities / n, self.wins.to(torch.float64) / n)

    def accuracy(self) -> float:
        """Return the share of images whose most probable class is that of the prompt. Must be called on every process.

        Raises ValueError if there are no images.
        """
        with self.sync_context():
            return int(self.hits) / len(self._gathered())
