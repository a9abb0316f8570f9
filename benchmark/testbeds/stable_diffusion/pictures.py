"""Picture files as arrays: a random crop for training, the whole for comparison.

`picture_files` says how each form of file (16 bits, alpha, CMYK, EXIF turns, animation) becomes RGB.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmark.testbeds.stable_diffusion.picture_files import read_rgb


def crops(files: Sequence[Path], numbers: Sequence[int], size: int) -> Tensor:
    """Crop `numbers[i]` of each file, uint8 (N, 3, size, size): the shorter side is resized to `size`, then cut.

    Place and mirroring depend on the file's name and the number alone (bilinear, as the paper's training reads them).
    """
    return _stack([_crop(file, number, size) for file, number in zip(files, numbers, strict=True)])


def squares(files: Sequence[Path], size: int) -> Tensor:
    """Whole pictures uint8 (N, 3, size, size), their proportions given up: what the authors compute FID with."""
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
