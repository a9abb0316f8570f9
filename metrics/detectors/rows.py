"""Detections as rows of numbers, so that they can be stored and reused like the features of encoders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metrics.detectors.base import Detection, Detector
from metrics.encoders import check_images

MOST = 24
"""Largest number of detections per image, highest score first; NudeNet finds few even in crowded images."""
WIDTH = 6
"""Numbers of a detection: class, score and box. Unused places have score -1."""


class DetectionRows:
    """A detector with the contract of encoders: images (N, 3, H, W) uint8 -> rows (N, MOST * WIDTH) float32."""

    def __init__(self, detector: Detector) -> None:
        self.detector, self.name, self.size = detector, detector.name, MOST * WIDTH

    def __call__(self, images: Tensor) -> Tensor:
        check_images(images)
        rows = torch.full((len(images), MOST, WIDTH), -1.0)
        detections_by_image = self.detector([image.permute(1, 2, 0).numpy() for image in images])
        for row, detections in zip(rows, detections_by_image, strict=True):
            for place, detection in zip(row, detections, strict=False):
                place[:] = torch.tensor([self.detector.labels.index(detection.label), detection.score, *detection.box])
        return rows.flatten(1)


def detections(rows: Tensor, labels: Sequence[str]) -> list[list[Detection]]:
    """Return the detections in rows (N, MOST * WIDTH) that a detector with these labels made."""
    return [
        [
            Detection(labels[int(kind)], score, (x0, y0, x1, y1))
            for kind, score, x0, y0, x1, y1 in row.view(MOST, WIDTH).tolist()
            if score >= 0
        ]
        for row in rows
    ]
