"""Defines mini's small convolutional networks for evaluation: style encoder, feature network, oracle.

The oracle classifies style and content, and detects emblems, synthetic signs that stand in for nudity.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.testbeds.mini.artists import STYLES
from benchmark.testbeds.mini.world.scenes import CONTENTS, EMBLEMS

GRID = 8
"""Height and width of the emblem map in cells."""


class Trunk(nn.Module):
    """Maps images (N, 3, 64, 64) in [-1, 1] to (N, 4 * width, 8, 8) by three halvings, each with a residual block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = (width, 2 * width, 4 * width)
        self.stem = nn.Conv2d(3, channels[0], 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(Residual(c) for c in channels)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks[0](self.stem(x))
        for down, block in zip(self.down, list(self.blocks)[1:], strict=True):
            x = block(down(x))
        return x


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(self.norm(x)))))


class Embedder(nn.Module):
    """Maps images in [-1, 1] to embeddings (N, size) by a trunk and global pooling.

    Args:
        width: channels of the trunk's first level.
        size: size of an embedding.
        moments: whether pooling computes standard deviations in addition to means.
    """

    def __init__(self, width: int, size: int, moments: bool = False) -> None:
        super().__init__()
        self.trunk, self.moments = Trunk(width), moments
        inner = 4 * width * (2 if moments else 1)
        self.head = nn.Sequential(nn.Linear(inner, 2 * size), nn.SiLU(), nn.Linear(2 * size, size))

    def forward(self, x: Tensor) -> Tensor:
        maps = F.silu(self.trunk(x))
        pooled = maps.mean((2, 3))
        if self.moments:
            pooled = torch.cat([pooled, maps.float().var((2, 3)).add(1e-5).sqrt().to(pooled.dtype)], 1)
        return self.head(pooled)


STYLE_SIZE, FEATURE_SIZE = 96, 128
"""Size of the embeddings for CSD, and of those for FID, KID and drift."""


def style_encoder() -> Embedder:
    """Create an untrained style encoder."""
    return Embedder(24, STYLE_SIZE, moments=True)


def feature_network() -> Embedder:
    """Create an untrained feature network."""
    return Embedder(24, FEATURE_SIZE)


class Oracle(nn.Module):
    """Maps images in [-1, 1] to labels.

    Outputs are style logits (N, 17), content logits (N, 13; the last is for none of the twelve), and an emblem map
    (N, 8, 8, 1 + 3 + 4) with presence, class and box.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.trunk = Trunk(width)
        self.style = nn.Linear(8 * width, len(STYLES))
        self.content = nn.Sequential(
            nn.Linear(8 * width, 4 * width), nn.SiLU(), nn.Linear(4 * width, len(CONTENTS) + 1)
        )
        self.emblem = nn.Conv2d(4 * width, 1 + len(EMBLEMS) + 4, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = F.silu(self.trunk(x))
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
        return self.style(pooled), self.content(pooled), self.emblem(maps).permute(0, 2, 3, 1)
