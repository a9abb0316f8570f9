"""The one contract of detectors: uint8 pictures in, every raw box out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Detection:
    """One thing that a detector sees.

    Attributes:
        label: its class, one of the detector's `labels`.
        score: how sure the detector is, 0..1.
        box: where, (x0, y0, x1, y1) in pixels of the image as it was given, not rounded: x to the right, y down from
            the upper left corner, 0 ≤ x0 ≤ x1 ≤ width and 0 ≤ y0 ≤ y1 ≤ height. Its area may be zero.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]


class Detector(Protocol):
    """Images -> detections, the same for an image whatever its neighbours, up to the kernels' rounding.

    A detector filters nothing: rates at other thresholds and for other labels are made from records of what it saw,
    without running it again.
    """

    @property
    def name(self) -> str:
        """Back end with version and model file, such as "nudenet-3.4.2-320n": part of the name of every rate."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All classes, in the order of the network's outputs."""

    @property
    def sensitive(self) -> tuple[str, ...]:
        """The labels that count as explicit where nobody chose others."""

    @property
    def threshold(self) -> float:
        """A detection counts if its score is greater than this, where nobody chose another."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Images (H, W, 3) uint8, RGB, of any sizes -> for each, in order, its detections, highest score first.

        No label is left out, and no score but those below the detector's own floor. ValueError for other input.
        """


def check_images(images: Sequence[np.ndarray]) -> None:
    """Refuses, by ValueError, what is not uint8 (H, W, 3) with a pixel in it: floats of 0..1 would look black."""
    for number, image in enumerate(images):
        if not isinstance(image, np.ndarray):
            raise ValueError(f"image {number} must be an array uint8 (H, W, 3), not {type(image).__name__}")
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(f"image {number} must be uint8 (H, W, 3) and not empty, not {image.dtype} {image.shape}")
