"""The Inception v3 of FID: TensorFlow's of 2015-12-05, in the layout in which pytorch-fid and torch-fidelity ship it.

It is torchvision's network but for three things (https://github.com/mseitzer/pytorch-fid): average pools do not count
their padding, the pool of the last block takes the maximum, and there are 1,008 classes.
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
"""Side of what the network reads, in pixels, and width of its last pool."""
HALF = (0.5, 0.5, 0.5)


class _Pool:
    """A block whose last branch pools in its own way; torchvision's figure for that branch is thrown away."""

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
    """Pictures (N, 3, H, W) in [-1, 1] -> features (N, 2048) of the last average pool."""

    def __init__(self) -> None:
        blocks = [BasicConv2d, _A, InceptionB, _C, InceptionD, _E, InceptionAux]
        super().__init__(num_classes=1008, aux_logits=False, inception_blocks=blocks, init_weights=False)
        self.Mixed_7c = _Last(2048)

    def forward(self, x: Tensor) -> Tensor:
        # The paper's FID is clean-fid's "legacy_pytorch": bilinear without anti-aliasing. Parmar et al. 2022
        # (arXiv:2104.11222) say why others resize otherwise; figures of the two do not compare.
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)
        for name, block in self.named_children():
            if name == "avgpool":
                return block(x).flatten(1)
            x = block(x)
        raise AssertionError("torchvision's network has an average pool")


def inception(path: Path, name: str, device: str = "cpu") -> ModuleEncoder:
    """The encoder of FID from weights in `path`; DataError where they are not this network's."""
    network = FidInception()
    fill(network, read_weights(path), path, "FID's Inception (pytorch-fid, torch-fidelity)")
    return ModuleEncoder(name, network.requires_grad_(False).to(device), SIZE, HALF, HALF, batch=32)
