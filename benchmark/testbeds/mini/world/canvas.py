"""Draws batches of pictures with signed distance functions.

Coordinates run from -1 (left, top) to 1 (right, bottom). A shape of `Frame` returns signed distances (N, H, W),
negative inside. `Canvas.paint` fills the shape with a colour (N, 3) and an anti-aliased edge, and records its outline
for styles that draw outlines in ink.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SIZE = 128
"""Side in pixels at which pictures are drawn; they are then averaged to 64x64."""
EDGE = 2.0 / SIZE


def mesh(n: int) -> tuple[Tensor, Tensor]:
    """Return the coordinates x and y of every pixel, each (n, SIZE, SIZE)."""
    axis = (torch.arange(SIZE) + 0.5) * (2.0 / SIZE) - 1.0
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x.expand(n, -1, -1), y.expand(n, -1, -1)


@dataclass
class Canvas:
    """A batch of pictures: colours (N, 3, H, W), outlines (N, H, W), and the warped coordinates (N, H, W)."""

    rgb: Tensor
    ink: Tensor
    x: Tensor
    y: Tensor

    @classmethod
    def blank(cls, x: Tensor, y: Tensor) -> Canvas:
        n = len(x)
        return cls(torch.zeros(n, 3, SIZE, SIZE), torch.zeros(n, SIZE, SIZE), x, y)

    def pick(self, index: Tensor) -> Canvas:
        """Return a copy of the pictures at `index`; `put` writes it back."""
        return Canvas(self.rgb[index], self.ink[index], self.x[index], self.y[index])

    def put(self, index: Tensor, part: Canvas) -> None:
        self.rgb[index], self.ink[index] = part.rgb, part.ink

    def paint(self, distance: Tensor, colour: Tensor, ink: bool = True, opacity: float = 1.0) -> None:
        """Paint `colour` where `distance` < 0 and hide outlines beneath; with `ink`, record the shape's outline."""
        mask = (0.5 - distance / EDGE).clamp(0, 1) * opacity
        self.rgb = torch.lerp(self.rgb, colour[:, :, None, None], mask[:, None])
        self.ink = self.ink * (1 - mask)
        if ink:
            self.ink = torch.maximum(self.ink, (1.5 - distance.abs() / EDGE).clamp(0, 1))


@dataclass(frozen=True)
class Frame:
    """Coordinates of objects: u to the right and v down, each about [-1, 1] inside the object, and its half-size s."""

    u: Tensor
    v: Tensor
    s: Tensor

    @classmethod
    def at(cls, canvas: Canvas, cx: Tensor, cy: Tensor, s: Tensor, mirror: Tensor) -> Frame:
        """Return the frame of objects with centre (cx, cy) and half-size s, each (N,).

        `mirror` (N,) is +1 for objects that face right, and -1 for objects that face left.
        """
        s3 = s[:, None, None]
        u = (canvas.x - cx[:, None, None]) / s3 * mirror[:, None, None]
        return cls(u, (canvas.y - cy[:, None, None]) / s3, s3)

    def disc(self, u: float, v: float, r: float) -> Tensor:
        return (torch.hypot(self.u - u, self.v - v) - r) * self.s

    def ellipse(self, u: float, v: float, a: float, b: float, turn: float = 0.0) -> Tensor:
        """Return an ellipse with half-axes a and b, rotated by `turn` radians; distances are first-order accurate."""
        du, dv = self._turned(u, v, turn)
        k = torch.hypot(du / a, dv / b)
        gradient = torch.hypot(du / (a * a), dv / (b * b)).clamp_min(1e-3)
        return k * (k - 1) / gradient * self.s

    def box(self, u: float, v: float, a: float, b: float, turn: float = 0.0) -> Tensor:
        du, dv = self._turned(u, v, turn)
        return torch.maximum(du.abs() - a, dv.abs() - b) * self.s

    def polygon(self, *corners: tuple[float, float]) -> Tensor:
        """Return a convex polygon with the given corners, in clockwise or counter-clockwise order."""
        edges = list(zip(corners, (*corners[1:], corners[0]), strict=True))
        area = sum(u0 * v1 - u1 * v0 for (u0, v0), (u1, v1) in edges)
        distance: Tensor | None = None
        for (u0, v0), (u1, v1) in edges:
            length = ((u1 - u0) ** 2 + (v1 - v0) ** 2) ** 0.5 * (1 if area > 0 else -1)
            side = ((self.u - u0) * (v1 - v0) - (self.v - v0) * (u1 - u0)) / length
            distance = side if distance is None else torch.maximum(distance, side)
        assert distance is not None
        return distance * self.s

    def line(self, u0: float, v0: float, u1: float, v1: float, r: float) -> Tensor:
        """Return a line with radius r and round ends, from (u0, v0) to (u1, v1)."""
        du, dv = u1 - u0, v1 - v0
        t = (((self.u - u0) * du + (self.v - v0) * dv) / (du * du + dv * dv)).clamp(0, 1)
        return (torch.hypot(self.u - u0 - t * du, self.v - v0 - t * dv) - r) * self.s

    def ring(self, u: float, v: float, r: float, w: float) -> Tensor:
        return ((torch.hypot(self.u - u, self.v - v) - r).abs() - w) * self.s

    def _turned(self, u: float, v: float, turn: float) -> tuple[Tensor, Tensor]:
        du, dv = self.u - u, self.v - v
        if not turn:
            return du, dv
        c, s = float(torch.cos(torch.tensor(turn))), float(torch.sin(torch.tensor(turn)))
        return c * du + s * dv, c * dv - s * du
