"""Reads picture files as tensors: random crops for training, whole pictures for comparison.

`picture_files` documents how each file format (16 bits, alpha, CMYK, EXIF, animations) is converted to RGB.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmark.testbeds.stable_diffusion.picture_files import read_rgb


def crops(files: Sequence[Path], numbers: Sequence[int], size: int) -> Tensor:
    """Return crop `numbers[i]` of `files[i]` as uint8 (N, 3, size, size).

    The shorter side is resized to `size` (bilinear, as in the paper's training), then a square is cut out and possibly
    flipped. Position and flip depend only on the file's name and the number.
    """
    return _stack([_crop(file, number, size) for file, number in zip(files, numbers, strict=True)])


@dataclass(frozen=True)
class Crops:
    """Reads the crops of some rows. It can be pickled, so that worker processes can read them."""

    files: Sequence[Path]
    source: Sequence[tuple[int, int]]
    """(position in `files`, number of the crop) of each row."""
    size: int
    """Side of a crop in pixels."""

    def __call__(self, rows: Sequence[int]) -> Tensor:
        """Return the crops of some rows as uint8 (N, 3, size, size)."""
        files, numbers = zip(
            *((self.files[place], crop) for place, crop in map(self.source.__getitem__, rows)), strict=True
        )
        return crops(files, numbers, self.size)


def squares(files: Sequence[Path], size: int) -> Tensor:
    """Return whole pictures as uint8 (N, 3, size, size), without keeping the aspect ratio.

    The paper's authors compute FID on pictures that are resized like this.
    """
    return _stack([read_rgb(file).resize((size, size), Image.Resampling.BILINEAR) for file in files])


def _crop(file: Path, number: int, size: int) -> Image.Image:
    picture = read_rgb(file)
    width, height = picture.size
    scale = size / min(width, height)
    wide, high = max(size, round(width * scale)), max(size, round(height * scale))
    picture = picture.resize((wide, high), Image.Resampling.BILINEAR)
    draw = random.Random(hashlib.sha256(f"{file.name}|{number}".encode()).digest())
    left, top = draw.randint(0, wide - size), draw.randint(0, high - size)
    picture = picture.crop((left, top, left + size, top + size))
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.random() < 0.5 else picture


def _stack(images: list[Image.Image]) -> Tensor:
    arrays = [
        torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3)
        for image in images
    ]
    return torch.stack(arrays).permute(0, 3, 1, 2).contiguous()
