"""Published networks written out slowly, from the papers' formulas, to compare with."""

import math

import torch
from torch import Tensor


def pooled(x: Tensor, how: str) -> Tensor:
    """3 x 3 pools at stride 1 over what lies inside the map alone: "mean" or "max" of (C, H, W)."""
    out = torch.empty_like(x)
    _, height, width = x.shape
    for i in range(height):
        for j in range(width):
            near = x[:, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].flatten(1)
            out[:, i, j] = near.mean(1) if how == "mean" else near.amax(1)
    return out


def bilinear(x: Tensor, side: int) -> Tensor:
    """(C, H, W) at side x side, pixel centres aligned, two neighbours a direction and no anti-aliasing."""
    for dimension in (1, 2):
        size = x.shape[dimension]
        at = ((torch.arange(side) + 0.5) * size / side - 0.5).clamp(min=0)
        low = at.floor().long().clamp(max=size - 1)
        high = (low + 1).clamp(max=size - 1)
        share = (at - low).view([-1 if d == dimension else 1 for d in range(3)])
        x = x.index_select(dimension, low) * (1 - share) + x.index_select(dimension, high) * share
    return x


def clip_tower(weights: dict[str, Tensor], projection: Tensor, pixels: Tensor, heads: int) -> Tensor:
    """OpenAI's CLIP image tower, pre-norm blocks with x sigmoid(1.702 x): pixels (3, s, s) -> (d,)."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, spread = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
        return (x - mean) / (spread + 1e-5).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    kernel = weights["conv1.weight"]
    width, _, patch, _ = kernel.shape
    rows = pixels.shape[1] // patch
    patches = [
        pixels[:, i * patch : (i + 1) * patch, j * patch : (j + 1) * patch] for i in range(rows) for j in range(rows)
    ]
    x = torch.stack([weights["class_embedding"], *((kernel * p).sum((1, 2, 3)) for p in patches)])
    x = norm(x + weights["positional_embedding"], "ln_pre")
    for k in range(len({name.split(".")[2] for name in weights if name.startswith("transformer.resblocks.")})):
        at = f"transformer.resblocks.{k}"
        packed = norm(x, f"{at}.ln_1") @ weights[f"{at}.attn.in_proj_weight"].T + weights[f"{at}.attn.in_proj_bias"]
        said = []
        for q, key, value in zip(*(part.split(width // heads, 1) for part in packed.split(width, 1)), strict=True):
            said.append((q @ key.T / math.sqrt(width // heads)).softmax(1) @ value)
        x = x + torch.cat(said, 1) @ weights[f"{at}.attn.out_proj.weight"].T + weights[f"{at}.attn.out_proj.bias"]
        hidden = norm(x, f"{at}.ln_2") @ weights[f"{at}.mlp.c_fc.weight"].T + weights[f"{at}.mlp.c_fc.bias"]
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        x = x + hidden @ weights[f"{at}.mlp.c_proj.weight"].T + weights[f"{at}.mlp.c_proj.bias"]
    return norm(x[0], "ln_post") @ projection
