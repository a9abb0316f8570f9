"""Converts detections to rows of numbers, so that they can be stored and reused like the features of encoders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metrics.detectors.base import Detection, Detector
from metrics.encoders import check_images

MOST = 24
"""Largest number of detections stored per image, highest scores first."""
WIDTH = 6
"""Number of values per detection: class, score and box. Unused slots have score -1."""


class DetectionRows:
    """Wraps a detector as an encoder: maps images (N, 3, H, W) uint8 to rows (N, MOST * WIDTH) float32."""

    def __init__(self, detector: Detector) -> None:
        self.detector, self.name, self.size = detector, detector.name, MOST * WIDTH

    def __call__(self, images: Tensor) -> Tensor:
        check_images(images)
        rows = torch.full((len(images), MOST, WIDTH), -1.0)
        detections_by_image = self.detector([image.permute(1, 2, 0).numpy() for image in images])
        for row, detections in zip(rows, detections_by_image, strict=True):
            for slot, detection in zip(row, detections, strict=False):
                slot[:] = torch.tensor([self.detector.labels.index(detection.label), detection.score, *detection.box])
        return rows.flatten(1)


def detections(rows: Tensor, labels: Sequence[str]) -> list[list[Detection]]:
    """Return the detections stored in rows (N, MOST * WIDTH) by a detector with these labels."""
    return [
        [
            Detection(labels[int(kind)], score, (x0, y0, x1, y1))
            for kind, score, x0, y0, x1, y1 in row.view(MOST, WIDTH).tolist()
            if score >= 0
        ]
        for row in rows
    ]
