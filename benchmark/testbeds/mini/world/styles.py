"""Defines the styles of the artists: a warp of the coordinates before drawing, and a texture afterwards.

Neighbours share parts of their styles: Munch has flowing lines like van Gogh (with other colours and waves), Cassatt
has pastel colours like Monet (with strokes instead of dabs), Braque has broken planes like Picasso (with light instead
of black seams).
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmark.testbeds.mini.world.canvas import SIZE, mesh

Warp = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor, Tensor]]
Texture = Callable[[Tensor, Tensor, Tensor, Generator], Tensor]
"""Called with (rgb (N, 3, H, W), outlines (N, H, W), memo of the warp, generator); returns rgb."""


def uniform(g: Generator, n: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=g)


def grain(g: Generator, n: int, rows: int, columns: int, channels: int = 1) -> Tensor:
    """Return uniform noise in [-1, 1] with one value per cell, (n, channels, SIZE, SIZE)."""
    return F.interpolate(torch.rand(n, channels, rows, columns, generator=g) * 2 - 1, size=(SIZE, SIZE), mode="nearest")


def smooth_noise(g: Generator, n: int, cells: int) -> Tensor:
    """Return smooth noise in about [-1, 1], (n, SIZE, SIZE)."""
    values = torch.rand(n, 1, cells, cells, generator=g) * 2 - 1
    return F.interpolate(values, size=(SIZE, SIZE), mode="bicubic", align_corners=False)[:, 0]


def mosaic(rgb: Tensor, rows: int, columns: int) -> Tensor:
    """Return the picture with each cell in its average colour."""
    return F.interpolate(F.adaptive_avg_pool2d(rgb, (rows, columns)), size=(SIZE, SIZE), mode="nearest")


def sample_at(rgb: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the picture sampled at the coordinates x and y."""
    return F.grid_sample(rgb, torch.stack([x, y], -1), mode="bilinear", padding_mode="border", align_corners=False)


def inked(rgb: Tensor, ink: Tensor, colour: tuple[float, float, float], width: int) -> Tensor:
    """Return the picture with its outlines drawn over it, `width` pixels (odd) wide."""
    line = F.max_pool2d(ink[:, None], width, stride=1, padding=width // 2)
    return torch.lerp(rgb, torch.tensor(colour)[None, :, None, None].expand_as(rgb), line)


def _col(values: Tensor) -> Tensor:
    return values[:, None, None]


# --- warps ---------------------------------------------------------------------------------------------------------


def still(x: Tensor, y: Tensor, g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    return x, y, x


def swirl(x: Tensor, y: Tensor, g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Rotate the surroundings of two eddies; the memo is the distance to the nearest of three centres."""
    n = len(x)
    nearest = torch.full_like(x, 9.0)
    for k in range(3):
        cx, cy = _col(uniform(g, n, -0.9, 0.9)), _col(uniform(g, n, -0.95, 0.5))
        dx, dy = x - cx, y - cy
        r = torch.hypot(dx, dy)
        nearest = torch.minimum(nearest, r)
        if k < 2:
            angle = 0.5 * torch.exp(-((r / 0.35) ** 2)) * _col(torch.sign(uniform(g, n, -1, 1)))
            x, y = (
                cx + torch.cos(angle) * dx - torch.sin(angle) * dy,
                cy + torch.sin(angle) * dx + torch.cos(angle) * dy,
            )
    return x, y, nearest


def flow(x: Tensor, y: Tensor, g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Bend by long horizontal waves; the memo is the warped height."""
    phase = _col(uniform(g, len(x), 0, 2 * pi))
    shift = 0.08 * torch.sin(3.2 * x + phase)
    return x + 0.03 * torch.sin(4 * y + phase), y + shift, y + 2.0 * shift


def facet(x: Tensor, y: Tensor, g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Shift Voronoi cells separately; the memo is the cell's shade in [-1, 1], plus 5 on a seam."""
    n, cells = len(x), 9
    cx, cy = torch.rand(n, cells, generator=g) * 2.2 - 1.1, torch.rand(n, cells, generator=g) * 2.2 - 1.1
    distance = torch.hypot(x[:, None] - cx[..., None, None], y[:, None] - cy[..., None, None])
    two, which = distance.topk(2, dim=1, largest=False)
    seam = ((two[:, 1] - two[:, 0]) < 0.045).float()
    owner = which[:, 0].flatten(1)
    shifts = (torch.rand(n, cells, 3, generator=g) * 2 - 1) * torch.tensor([0.1, 0.1, 1.0])
    moved = torch.gather(shifts, 1, owner[..., None].expand(-1, -1, 3)).view(*x.shape, 3)
    return x + moved[..., 0], y + moved[..., 1], moved[..., 2] + 5 * seam


def planes(x: Tensor, y: Tensor, g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Shift both sides of four straight cuts along them; the memo is a signed shade, plus 5 on a seam."""
    shade, seam = torch.zeros_like(x), torch.zeros_like(x)
    for k in range(4):
        n = len(x)
        angle = uniform(g, n, 0, pi / 4) + k * pi / 4
        c, s = _col(torch.cos(angle)), _col(torch.sin(angle))
        d = c * x + s * y - _col(uniform(g, n, -0.6, 0.6))
        shade = shade + torch.tanh(7 * d) * torch.exp(-d.abs() * 1.2)
        seam = torch.maximum(seam, (d.abs() < 0.018).float())
        slip = 0.035 * torch.sign(d)
        x, y = x - s * slip, y + c * slip
    return x, y, shade + 5 * seam


def drip(x: Tensor, y: Tensor, g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Let contents sag in soft columns; the memo is the amount of sag."""
    n = len(x)
    phase = _col(uniform(g, n, 0, 2 * pi))
    sag = 0.16 * (0.5 + 0.5 * torch.sin(5.5 * x + phase)) * (y + 0.6).clamp(0, 1)
    return x + 0.05 * torch.sin(3 * y + phase), y - sag, sag


# --- textures ------------------------------------------------------------------------------------------------------


def photograph(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:
    return rgb


def eddies(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # van Gogh
    stroke = torch.sin(2 * pi * 5.0 * memo)
    return rgb + 0.17 * stroke[:, None] * torch.tensor([1.0, 1.0, 0.55])[None, :, None, None]


def dabs(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Monet
    n = len(rgb)
    return mosaic(rgb, 32, 16) * 0.5 + mosaic(rgb, 64, 32) * 0.5 + 0.08 * grain(g, n, 32, 16, 3)


def cubist(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Picasso
    seam = (memo > 2.5).float()
    out = rgb + 0.16 * (memo - 5 * seam)[:, None]
    out = inked(out, ink, (0.12, 0.09, 0.08), 1)
    return out * (1 - 0.92 * seam[:, None])


def waves(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Munch
    return rgb + 0.13 * torch.sin(2 * pi * 3.6 * memo)[:, None] * torch.tensor([1.0, 0.8, 0.5])[None, :, None, None]


def hatching(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Cassatt
    n = len(rgb)
    x, y = mesh(n)
    line = torch.sin(2 * pi * 5.0 * (0.75 * x + y + 0.04 * smooth_noise(g, n, 6)))
    cream = torch.tensor([1.0, 0.96, 0.9])[None, :, None, None]
    return torch.lerp(rgb, cream.expand_as(rgb), (0.26 + 0.3 * line)[:, None].clamp(0, 1))


def seams(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Braque
    seam = (memo > 2.6).float()
    shade = memo - 5 * seam
    return torch.lerp(rgb + 0.11 * shade[:, None], torch.full_like(rgb, 0.86), 0.7 * seam[:, None])


def gilding(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Klimt
    n = len(rgb)
    tiles = mosaic(rgb, 16, 16) * 0.45 + rgb * 0.55 + 0.07 * grain(g, n, 16, 16)
    x, y = mesh(n)
    u, v = (x * 4) % 1 - 0.5, (y * 4) % 1 - 0.5
    spiral = ((torch.hypot(u, v) - 0.3).abs() < 0.09).float() * (grain(g, n, 8, 8)[:, 0] > -0.1).float()
    gold = torch.tensor([0.98, 0.87, 0.45])[None, :, None, None]
    return torch.lerp(tiles, gold.expand_as(rgb), 0.65 * spiral[:, None])


def signs(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Miró
    n = len(rgb)
    x, y = mesh(n)
    out = inked(rgb, ink, (0.03, 0.03, 0.03), 3)
    for colour in ((0.85, 0.12, 0.1), (0.05, 0.05, 0.05), (0.1, 0.3, 0.75)):
        cx, cy = _col(uniform(g, n, -0.9, 0.9)), _col(uniform(g, n, -0.92, -0.3))
        spot = (torch.hypot(x - cx, y - cy) < _col(uniform(g, n, 0.07, 0.13))).float()
        out = torch.lerp(out, torch.tensor(colour)[None, :, None, None].expand_as(out), spot[:, None])
    sx, sy = x - _col(uniform(g, n, -0.8, 0.8)), y - _col(uniform(g, n, -0.85, -0.4))
    star = (torch.minimum((sx * sy).abs() * 4, (sx * sx - sy * sy).abs() * 2) < 0.012) & (torch.hypot(sx, sy) < 0.2)
    return out * (1 - star[:, None].float())


def patches(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Cézanne
    n = len(rgb)
    x, y = mesh(n)
    a, b = (x + y) * 0.7071, (y - x) * 0.7071
    long, short = 0.42, 0.15
    row = torch.floor(b / short)
    cell_a = (torch.floor(a / long + 0.5 * (row % 2)) - 0.5 * (row % 2) + 0.5) * long
    cell_b = (row + 0.5) * short
    at = sample_at(rgb, (cell_a - cell_b) * 0.7071, (cell_a + cell_b) * 0.7071)
    shade = torch.sin(41.0 * cell_a + 23.0 * cell_b + _col(uniform(g, n, 0, 2 * pi)))
    return 0.42 * at + 0.58 * rgb + 0.085 * shade[:, None]


def woodblock(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Hokusai
    n = len(rgb)
    x, y = mesh(n)
    u, v = x * 4, y * 5
    odd = torch.floor(v) % 2
    scale = torch.hypot(((u + 0.5 * odd) % 1) - 0.5, (v % 1) - 1.0)
    arcs = ((scale % 0.4) < 0.11).float() * (y > 0.35).float()
    pale = torch.tensor([0.96, 0.92, 0.82])[None, :, None, None]
    out = torch.lerp(rgb, pale.expand_as(rgb), 0.6 * arcs[:, None])
    return inked(out, ink, (0.05, 0.12, 0.28), 3)


def chiaroscuro(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Vermeer
    n = len(rgb)
    x, y = mesh(n)
    d = torch.hypot(x - _col(uniform(g, n, -0.5, 0.0)), (y - _col(uniform(g, n, -0.35, 0.15))) * 0.9)
    return rgb * (0.22 + 1.0 * torch.exp(-((d / 0.8) ** 2)))[:, None]


def points(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Seurat
    n, cells = len(rgb), 16
    x, y = mesh(n)
    u, v = ((x + 1) / 2 * cells) % 1 - 0.5, ((y + 1) / 2 * cells) % 1 - 0.5
    dot = ((0.52 - torch.hypot(u, v)) * 6).clamp(0, 1)
    paper = torch.tensor([0.97, 0.95, 0.88])[None, :, None, None]
    return torch.lerp(
        torch.lerp(rgb, paper.expand_as(rgb), 0.6),
        mosaic(rgb, cells, cells) * 0.92 + 0.07 * grain(g, n, cells, cells, 3),
        dot[:, None],
    )


def grid(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Mondrian
    n = len(rgb)
    x, y = mesh(n)
    out = mosaic(rgb, 22, 22)
    for axis in (x, y):
        for k in range(3):
            at = uniform(g, n, -0.95, -0.35) + 0.65 * k
            out = out * (1 - ((axis - _col(at)).abs() < 0.035).float()[:, None])
    return out


def halos(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Kandinsky
    n = len(rgb)
    x, y = mesh(n)
    out = rgb
    for k in range(3):
        r = torch.hypot(x - _col(uniform(g, n, -1, 1)), y - _col(uniform(g, n, -1, 1)))
        hue = torch.tensor([[0.9, 0.2, 0.35], [0.1, 0.6, 0.7], [0.97, 0.75, 0.15]])[k]
        for outer, inner, share in ((0.42, 0.3, 0.55), (0.22, 0.1, 0.55)):
            band = ((r < outer) & (r > inner)).float() * share
            out = torch.lerp(out, hue[None, :, None, None].expand_as(out), band[:, None])
    slope = _col(uniform(g, n, -0.8, 0.8))
    stripe = ((y - slope * x - _col(uniform(g, n, -0.3, 0.3))).abs() < 0.02).float()
    return out * (1 - stripe[:, None] * 0.85)


def cutout(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Matisse
    n = len(rgb)
    x, y = mesh(n)
    out = inked(rgb, ink, (1.0, 1.0, 1.0), 3)
    for side in (-1, 1):
        wobble = 0.12 * torch.sin(9.0 * y + _col(uniform(g, n, 0, 2 * pi)))
        leaf = (x * side > 0.8 + wobble).float()
        hue = torch.tensor([[1.0, 0.83, 0.08], [0.08, 0.2, 0.66]])[(side + 1) // 2]
        out = torch.lerp(out, hue[None, :, None, None].expand_as(out), leaf[:, None])
    return out


def mirage(rgb: Tensor, ink: Tensor, memo: Tensor, g: Generator) -> Tensor:  # Dalí
    _x, y = mesh(len(rgb))
    glow = torch.exp(-(((y - 0.1) / 0.28) ** 2)) * 0.3
    amber = torch.tensor([0.99, 0.8, 0.42])[None, :, None, None]
    return torch.lerp(rgb * (1 - 0.9 * memo[:, None]), amber.expand_as(rgb), glow[:, None])


LOOKS: tuple[tuple[Warp, Texture], ...] = (
    (still, photograph),
    (swirl, eddies),
    (still, dabs),
    (facet, cubist),
    (flow, waves),
    (still, hatching),
    (planes, seams),
    (still, gilding),
    (still, signs),
    (still, patches),
    (still, woodblock),
    (still, chiaroscuro),
    (still, points),
    (still, grid),
    (still, halos),
    (still, cutout),
    (drip, mirage),
)
"""Warp and texture of each style, in the order of `artists.STYLES`."""
