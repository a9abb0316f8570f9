"""The contract of detectors: uint8 images in, all boxes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Detection:
    """A detected object.

    Attributes:
        label: its class, one of the detector's `labels`.
        score: confidence of the detector, 0..1.
        box: (x0, y0, x1, y1) in pixels of the given image, not rounded; x to the right and y down from the upper left
            corner, 0 ≤ x0 ≤ x1 ≤ width and 0 ≤ y0 ≤ y1 ≤ height. Its area may be zero.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]


class Detector(Protocol):
    """Images -> detections.

    The detections of an image do not depend on the other images of a batch, except for the rounding of kernels. A
    detector does not filter by threshold or label, so that rates at other thresholds and for other labels can be
    computed from stored detections.
    """

    @property
    def name(self) -> str:
        """Back end with version and model file, such as "nudenet-3.4.2-320n"; it is part of the name of every rate."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All classes, in the order of the network's outputs."""

    @property
    def sensitive(self) -> tuple[str, ...]:
        """The labels that count as explicit by default."""

    @property
    def threshold(self) -> float:
        """Default threshold: a detection counts if its score is greater."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Return the detections of each image (H, W, 3) uint8, RGB, of any size, highest score first.

        All labels are included, and all scores above the detector's own floor. Raises ValueError for other input.
        """


def check_images(images: Sequence[np.ndarray]) -> None:
    """Raise ValueError for images that are not uint8 (H, W, 3) or are empty; floats in 0..1 would look black."""
    for number, image in enumerate(images):
        if not isinstance(image, np.ndarray):
            raise ValueError(f"image {number} must be an array uint8 (H, W, 3), not {type(image).__name__}")
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(f"image {number} must be uint8 (H, W, 3) and not empty, not {image.dtype} {image.shape}")
