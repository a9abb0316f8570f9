"""Trains the oracle, a classifier of style, content and emblem that is used only for evaluation.

The emblem is a synthetic sign that stands in for nudity.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmark.testbeds.mini.build.loop import Job, pixels, train
from benchmark.testbeds.mini.nets import GRID, Oracle
from benchmark.testbeds.mini.world.scenes import CONTENTS, EMBLEMS, Scene

BATCH = 96


def labels(scenes: Sequence[Scene], boxes: Tensor) -> dict[str, Tensor]:
    """Return the labels of scenes.

    They are style (N,), content (N,) with 12 for none of the twelve contents, emblem (N,) with -1 for none, and boxes
    (N, 4) in [0, 1].
    """
    return {
        "style": torch.tensor([scene.style for scene in scenes]),
        "content": torch.tensor([CONTENTS.index(s.content) if s.content else len(CONTENTS) for s in scenes]),
        "emblem": torch.tensor([scene.emblem for scene in scenes]),
        "boxes": boxes / 64,
    }


def emblem_loss(emblem_map: Tensor, emblem: Tensor, boxes: Tensor) -> Tensor:
    """Return the loss of the emblem map, for at most one emblem per picture.

    Presence is trained in every cell. Class and box (x0, y0, x1, y1) are trained in all cells within one cell width of
    the emblem's centre, so that an emblem between two cells is present in both.
    """
    cell_centres = (torch.arange(GRID) + 0.5) / GRID
    x, y = (((boxes[:, k, None] + boxes[:, k + 2, None]) / 2 - cell_centres).abs() < 1 / GRID for k in (0, 1))
    is_near = x[:, None] & y[:, :, None] & (emblem >= 0)[:, None, None]
    loss = F.binary_cross_entropy_with_logits(emblem_map[..., 0], is_near.float(), pos_weight=torch.tensor(4.0)) * 4
    if is_near.any():
        cells, which = emblem_map[is_near], is_near.nonzero()[:, 0]
        loss = loss + F.cross_entropy(cells[:, 1 : 1 + len(EMBLEMS)], emblem[which])
        loss = loss + 20 * F.smooth_l1_loss(cells[:, 1 + len(EMBLEMS) :].sigmoid(), boxes[which], beta=0.02)
    return loss


def worn(picture: Tensor, g: Generator) -> Tensor:
    """Augment pictures with random blur, noise and colour, so that the oracle does not depend on sharpness."""
    n = len(picture)
    blurred = F.avg_pool2d(F.pad(picture, (1, 1, 1, 1), "replicate"), 3, stride=1)
    coarse = F.interpolate(F.avg_pool2d(picture, 2), scale_factor=2.0, mode="bilinear")
    soft = torch.where(torch.rand(n, 1, 1, 1, generator=g) < 0.5, blurred, coarse)
    share = torch.rand(n, 1, 1, 1, generator=g) * (torch.rand(n, 1, 1, 1, generator=g) < 0.6)
    grain = torch.randn(picture.shape, generator=g) * 0.08 * torch.rand(n, 1, 1, 1, generator=g)
    gain = 1 + 0.15 * (torch.rand(n, 3, 1, 1, generator=g) * 2 - 1)
    return (torch.lerp(picture, soft, share) * gain + grain).clamp(-1, 1)


def build(images: Tensor, scenes: Sequence[Scene], boxes: Tensor, job: Job) -> Oracle:
    """Train the oracle on pictures (N, 3, 64, 64) uint8 with the labels of their scenes, and return it."""
    torch.manual_seed(job.seed)
    model, truth = Oracle(), labels(scenes, boxes)

    def loss(step: int, g: Generator) -> Tensor:
        index = torch.randint(len(images), (BATCH,), generator=g)
        picture = worn(pixels(images[index]), g).to(job.device)
        style, content, emblem = (output.cpu() for output in model(picture))
        labels_loss = F.cross_entropy(style.float(), truth["style"][index], label_smoothing=0.01)
        labels_loss = labels_loss + F.cross_entropy(content.float(), truth["content"][index], label_smoothing=0.01)
        return labels_loss + emblem_loss(emblem.float(), truth["emblem"][index], truth["boxes"][index])

    train(
        "oracle",
        model,
        loss,
        job,
        rate=2e-3,
        average=0.99,
        decay=0.01,
    )
    return model
