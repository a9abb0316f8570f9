"""Reads `sizes.json`, the costs of one call of each network.

`count_flops.py` computes this file, and a test compares it with new counts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmark.json_types import JsonObject

TABLE = Path(__file__).with_name("sizes.json")
SCORING = {"clip": 8.8e9, "style": 1.6e11, "features": 1.1e10}
"""FLOPs per image of CLIP's ViT-B/32, CSD's ViT-L/14 and Inception v3."""


@dataclass(frozen=True)
class Sizes:
    """Costs of a pipeline's networks for one image. FLOPs are twice the multiply-accumulates."""

    unet: dict[str, int]
    """FLOPs of a U-Net call, by the latent's height."""
    decode: int
    encode: int
    text: int
    parameters: dict[str, int]
    """Number of parameters of "unet", "vae" and "text"."""
    memory: dict[str, int]
    """Bytes per image in fp32 for "training" (without weights and gradients), "sampling" and "decoding"."""
    size: int
    """Height of the latent at which everything except `unet` is counted."""

    def call(self, size: int) -> float:
        """Return the FLOPs of a U-Net call on a latent of this height.

        For heights that were not counted, the nearest one is scaled by area.
        """
        nearest = min(self.unet, key=lambda height: abs(int(height) - size))
        return self.unet[nearest] * (size / int(nearest)) ** 2

    def scaled(self, size: int) -> Sizes:
        """Return the costs for latents of a different height; the VAE's FLOPs and all memory are scaled by area."""
        area = (size / self.size) ** 2
        memory = {what: round(count * area) for what, count in self.memory.items()}
        decode, encode = round(self.decode * area), round(self.encode * area)
        return Sizes(self.unet, decode, encode, self.text, self.parameters, memory, size)


@cache
def sizes(name: str) -> Sizes:
    """Return the costs of "mini" or "sd21"."""
    costs: JsonObject = json.loads(TABLE.read_text())[name]
    return Sizes(**costs, size={"mini": 16, "sd21": 64}[name])
