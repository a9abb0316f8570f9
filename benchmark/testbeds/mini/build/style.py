"""Trains the style encoder for mini's CSD contrastively, on *random* parametric styles instead of artists' styles.

Two different plain pictures in the same random style form a positive pair, as in CSD (same style, different content;
Somepalli et al. 2024). A random style is a recolouring with some of these effects: warp, grating, mosaic, dots, planes,
lines, outlines and light.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmark.testbeds.mini.build.features import agreement
from benchmark.testbeds.mini.build.loop import Job, pixels, train
from benchmark.testbeds.mini.nets import Embedder, style_encoder

STYLES, TEMPERATURE = 56, 0.1


def repaint(picture: Tensor, seeds: Tensor) -> Tensor:
    """Return pictures (N, 3, 64, 64) in [-1, 1], each in the random style of its seed (N,)."""
    return torch.stack(
        [_repaint(image, torch.Generator().manual_seed(int(s))) for image, s in zip(picture, seeds, strict=True)]
    )


def _repaint(picture: Tensor, g: Generator) -> Tensor:
    def draw(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=g).item()

    axis = (torch.arange(64) + 0.5) / 32 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    if draw(0, 1) < 0.4:  # bend
        f, a, p = draw(2, 6), draw(0.03, 0.12), draw(0, 6.28)
        at = torch.stack([x + a * torch.sin(f * y + p), y + a * torch.sin(f * x + p)], -1)[None]
        picture = F.grid_sample(picture[None], at, padding_mode="border", align_corners=False)[0]
    mix = torch.eye(3) * draw(0.3, 1.0) + 0.45 * torch.randn(3, 3, generator=g)
    offset = 0.45 * torch.randn(3, 1, 1, generator=g)
    out = torch.tanh(torch.einsum("ij,jhw->ihw", mix, picture) + offset)
    kind = draw(0, 1)
    if kind < 0.25:  # grating, straight or bent
        f, angle, bend = draw(6, 20), draw(0, 3.14), draw(0, 0.4)
        c, s = torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))
        wave = torch.sin(f * (c * x + s * y + bend * torch.sin(3 * (c * y - s * x)))) * draw(0.1, 0.5)
        out = out + wave * torch.randn(3, 1, 1, generator=g).clamp(-1, 1)
    elif kind < 0.4:  # mosaic
        rows, columns = int(draw(8, 32)), int(draw(8, 32))
        out = F.interpolate(F.adaptive_avg_pool2d(out[None], (rows, columns)), size=64)[0]
        out = out + draw(0, 0.25) * F.interpolate(torch.randn(1, 3, rows, columns), size=64)[0]
    elif kind < 0.52:  # dots
        cells = draw(8, 20)
        u, v = ((x + 1) / 2 * cells) % 1 - 0.5, ((y + 1) / 2 * cells) % 1 - 0.5
        dot = ((draw(0.35, 0.55) - torch.hypot(u, v)) * 6).clamp(0, 1)
        out = torch.lerp(torch.randn(3, 1, 1, generator=g).tanh().expand_as(out), out, dot)
    elif kind < 0.66:  # planes with seams
        n = int(draw(4, 14))
        centres = torch.rand(n, 2) * 2 - 1
        two, which = torch.hypot(x[..., None] - centres[:, 0], y[..., None] - centres[:, 1]).topk(2, largest=False)
        out = out + draw(0.05, 0.4) * torch.randn(n)[which[..., 0]]
        seam = ((two[..., 1] - two[..., 0]) < draw(0.02, 0.08)).float() * draw(0.3, 1)
        out = torch.lerp(out, torch.full_like(out, draw(-1, 1)), seam)
    elif kind < 0.8:  # lines across
        for axis_of in (x, y):
            for _ in range(int(draw(0, 4))):
                out = torch.where((axis_of - (torch.rand(()) * 2 - 1)).abs() < draw(0.02, 0.05), draw(-1, 1), out)
    if draw(0, 1) < 0.35:  # outlines
        edge = F.pad((out.mean(0)[1:, 1:] - out.mean(0)[:-1, :-1]).abs(), (1, 0, 1, 0)).clamp(0, 0.5) * 2
        edge = F.max_pool2d(edge[None], 3, 1, 1)[0]
        out = torch.lerp(out, torch.full_like(out, draw(-1, 1)), edge)
    if draw(0, 1) < 0.25:  # light falls off
        out = (out + 1) * (0.2 + torch.exp(-(torch.hypot(x, y) ** 2) * draw(0.8, 2.5))) - 1
    return out.clamp(-1, 1)


def build(images: Tensor, job: Job) -> Embedder:
    """Train on plain pictures (N, 3, 64, 64) uint8; embeddings (N, 96) are compared by cosine."""
    torch.manual_seed(job.seed)
    model = style_encoder()

    def loss(step: int, g: Generator) -> Tensor:
        torch.manual_seed(int(torch.randint(2**31, (), generator=g)))  # seeds details that vary within a style
        seeds = torch.randint(2**31, (STYLES,), generator=g).repeat(2)
        picture = pixels(images[torch.randint(len(images), (2 * STYLES,), generator=g)])
        first, second = model(repaint(picture, seeds).to(job.device)).cpu().chunk(2)
        return agreement(first, second, TEMPERATURE)

    train("style", model, loss, job, rate=1e-3)
    return model
