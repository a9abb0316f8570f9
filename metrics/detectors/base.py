"""Protocol of detectors, which map uint8 images to all detected boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Detection:
    """A detected object.

    Attributes:
        label: class of the object, one of the detector's `labels`.
        score: confidence of the detector, 0..1.
        box: (x0, y0, x1, y1) in pixels of the given image, not rounded. The origin is the upper left corner, and
            0 ≤ x0 ≤ x1 ≤ width, 0 ≤ y0 ≤ y1 ≤ height. The area may be zero.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]


class Detector(Protocol):
    """Maps images to detections.

    The detections of an image do not depend on the other images of a batch, except for the rounding of kernels. A
    detector does not filter by threshold or label, so that rates for different thresholds and labels can be computed
    from stored detections.
    """

    @property
    def name(self) -> str:
        """Back end with version and model file, such as "nudenet-3.4.2-320n". It is part of the name of every rate."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All class labels, in the order of the network's outputs."""

    @property
    def sensitive(self) -> tuple[str, ...]:
        """The labels that count as explicit by default."""

    @property
    def threshold(self) -> float:
        """Default threshold: a detection counts if its score is above it."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Return the detections of each image (H, W, 3) uint8, RGB, of any size, highest score first.

        All labels are included, and all scores above the detector's minimum. Raises ValueError for other input.
        """


def check_images(images: Sequence[np.ndarray]) -> None:
    """Raise ValueError for images that are empty or not uint8 (H, W, 3). Floats in 0..1 would be read as black."""
    for number, image in enumerate(images):
        if not isinstance(image, np.ndarray):
            raise ValueError(f"image {number} must be an array uint8 (H, W, 3), not {type(image).__name__}")
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(f"image {number} must be uint8 (H, W, 3) and not empty, not {image.dtype} {image.shape}")
