"""The shipped table of what a call of each network costs; `count_flops.py` makes it, and a test counts it again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("sizes.json")
SCORING = {"clip": 8.8e9, "style": 1.6e11, "features": 1.1e10}
"""FLOPs a picture of CLIP's ViT-B/32, CSD's ViT-L/14 and Inception v3."""


@dataclass(frozen=True)
class Sizes:
    """A pipeline, by what its networks cost for one picture. FLOPs are twice the multiply-accumulates."""

    unet: dict[str, int]
    """FLOPs of a call, by the latent's height."""
    decode: int
    encode: int
    text: int
    parameters: dict[str, int]
    """Of "unet", "vae" and "text"."""
    memory: dict[str, int]
    """fp32 bytes a picture of "training" (beside weights and gradients), "sampling" and "decoding"."""
    size: int
    """Height of the latent that all but `unet` are counted at."""

    def call(self, size: int) -> float:
        """FLOPs of a U-Net call on a latent of this height; where it was not counted, by area from the nearest."""
        nearest = min(self.unet, key=lambda height: abs(int(height) - size))
        return self.unet[nearest] * (size / int(nearest)) ** 2

    def scaled(self, size: int) -> Sizes:
        """The same for latents of another height: the VAE's work and all memory grow with the area."""
        area = (size / self.size) ** 2
        memory = {what: round(count * area) for what, count in self.memory.items()}
        decode, encode = round(self.decode * area), round(self.encode * area)
        return Sizes(self.unet, decode, encode, self.text, self.parameters, memory, size)


@cache
def sizes(name: str) -> Sizes:
    """Of "mini" or "sd21"."""
    told: dict[str, Any] = json.loads(TABLE.read_text())[name]
    return Sizes(**told, size={"mini": 16, "sd21": 64}[name])
