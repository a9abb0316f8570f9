"""Detections as rows of numbers, so that what a detector saw is kept and reused as every network's features are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metrics.detectors.base import Detection, Detector
from metrics.encoders import check_images

MOST = 24
"""Detections that are kept of an image, the surest first; nudenet finds a handful in a crowded one."""
WIDTH = 6
"""Class, score and box of one; a place that holds none has score -1."""


class DetectionRows:
    """A detector by the contract of encoders: pictures uint8 (N, 3, H, W) -> float32 (N, MOST * WIDTH)."""

    def __init__(self, detector: Detector) -> None:
        self.detector, self.name, self.size = detector, detector.name, MOST * WIDTH

    def __call__(self, images: Tensor) -> Tensor:
        check_images(images)
        rows = torch.full((len(images), MOST, WIDTH), -1.0)
        found = self.detector([image.permute(1, 2, 0).numpy() for image in images])
        for row, detections in zip(rows, found, strict=True):
            for place, each in zip(row, detections, strict=False):
                place[:] = torch.tensor([self.detector.labels.index(each.label), each.score, *each.box])
        return rows.flatten(1)


def detections(rows: Tensor, labels: Sequence[str]) -> list[list[Detection]]:
    """What was packed into rows (N, MOST * WIDTH) by a detector of these labels."""
    return [
        [
            Detection(labels[int(kind)], score, (x0, y0, x1, y1))
            for kind, score, x0, y0, x1, y1 in row.view(MOST, WIDTH).tolist()
            if score >= 0
        ]
        for row in rows
    ]
