"""Inception v3 network for FID: TensorFlow's network of 2015-12-05, with the weight names of pytorch-fid.

The weights that pytorch-fid and torch-fidelity publish can be loaded. The network differs from that of torchvision in
three points (https://github.com/mseitzer/pytorch-fid): average pools do not count their padding, the last block uses
max pooling, and there are 1,008 classes.
"""

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchvision.models.inception import (
    BasicConv2d,
    Inception3,
    InceptionA,
    InceptionAux,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
)

from metrics.encoders import ModuleEncoder
from metrics.networks.weights import fill, read_weights

SIDE, SIZE = 299, 2048
"""Height and width of the network's input in pixels, and number of features of its last average pool."""
HALF = (0.5, 0.5, 0.5)


class _Pool:
    """Mixin for Inception blocks that replaces the pooling in the last branch of torchvision's block."""

    def pool(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)

    def _forward(self, x: Tensor) -> list[Tensor]:
        block: Any = self
        return [*super()._forward(x)[:-1], block.branch_pool(self.pool(x))]  # type: ignore[misc]


class _A(_Pool, InceptionA):
    pass


class _C(_Pool, InceptionC):
    pass


class _E(_Pool, InceptionE):
    pass


class _Last(_Pool, InceptionE):
    def pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, kernel_size=3, stride=1, padding=1)


class FidInception(Inception3):
    """Maps images (N, 3, H, W) in [-1, 1] to features (N, 2048) of the last average pool."""

    def __init__(self) -> None:
        blocks = [BasicConv2d, _A, InceptionB, _C, InceptionD, _E, InceptionAux]
        super().__init__(num_classes=1008, aux_logits=False, inception_blocks=blocks, init_weights=False)
        self.Mixed_7c = _Last(2048)

    def forward(self, x: Tensor) -> Tensor:
        # The paper uses FID in mode "legacy_pytorch" of clean-fid: bilinear resizing without anti-aliasing. Other
        # implementations resize differently (Parmar et al. 2022, arXiv:2104.11222), so their values are not comparable.
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)
        for name, block in self.named_children():
            if name == "avgpool":
                features: Tensor = block(x).flatten(1)
                return features
            x = block(x)
        raise AssertionError("torchvision's network has an average pool")


def inception(path: Path, name: str, device: str = "cpu") -> ModuleEncoder:
    """Return the encoder for FID with the weights in `path`. Raises DataError if they do not fit this network."""
    network = FidInception()
    fill(network, read_weights(path), path, "FID's Inception (pytorch-fid, torch-fidelity)")
    return ModuleEncoder(name, network.requires_grad_(False).to(device), SIZE, HALF, HALF, batch=32)
