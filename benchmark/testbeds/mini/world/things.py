"""Draws the twelve contents, in the coordinates of `Frame` and with colours by role."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, sin

from torch import Tensor

from benchmark.testbeds.mini.world.canvas import Canvas, Frame

Colours = dict[str, Tensor]  # role -> (N, 3): main, second, dark, light, leaf, skin, ground
Thing = Callable[[Canvas, Frame, Colours], None]


def house(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.box(0.45, -0.55, 0.1, 0.3), c["dark"])
    canvas.paint(f.box(0, 0.4, 0.66, 0.52), c["main"])
    canvas.paint(f.polygon((-0.92, -0.08), (0, -0.9), (0.92, -0.08)), c["second"])
    canvas.paint(f.box(0, 0.62, 0.16, 0.3), c["dark"])
    for u in (-0.4, 0.4):
        canvas.paint(f.box(u, 0.3, 0.14, 0.14), c["light"])


def tree(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.box(0, 0.6, 0.13, 0.4), c["wood"])
    for u, v, r in ((-0.38, 0.0, 0.42), (0.38, 0.0, 0.42), (0, -0.42, 0.5)):
        canvas.paint(f.disc(u, v, r), c["main"], ink=False)
    canvas.paint(f.disc(0, -0.1, 0.42), c["main"], ink=False)


def boat(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.line(0.0, -0.95, 0.0, 0.4, 0.05), c["dark"])
    canvas.paint(f.polygon((0.1, -0.85), (0.75, 0.25), (0.1, 0.25)), c["light"])
    canvas.paint(f.polygon((-0.1, -0.65), (-0.1, 0.25), (-0.6, 0.25)), c["second"])
    canvas.paint(f.polygon((-0.95, 0.38), (0.95, 0.38), (0.6, 0.85), (-0.6, 0.85)), c["main"])


def flower(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.line(0, 0, 0.0, 1.0, 0.07), c["leaf"])
    canvas.paint(f.ellipse(0.3, 0.65, 0.3, 0.13, -0.6), c["leaf"])
    canvas.paint(f.ellipse(-0.3, 0.75, 0.3, 0.13, 0.6), c["leaf"])
    for k in range(6):
        angle = k * 1.0472 + 0.5
        u, v = 0.42 * cos(angle), 0.42 * sin(angle) - 0.32
        canvas.paint(f.ellipse(u, v, 0.3, 0.21, angle), c["main"])
    canvas.paint(f.disc(0, -0.32, 0.24), c["second"])


def fish(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.polygon((-1.0, -0.5), (-0.5, 0.0), (-1.0, 0.5)), c["second"])
    canvas.paint(f.polygon((-0.15, -0.75), (0.35, -0.3), (-0.35, -0.3)), c["second"])
    canvas.paint(f.ellipse(0.12, 0, 0.82, 0.46), c["main"])
    canvas.paint(f.box(0.15, 0, 0.07, 0.4), c["light"])
    canvas.paint(f.box(-0.25, 0, 0.06, 0.36), c["light"])
    canvas.paint(f.disc(0.58, -0.1, 0.14), c["light"])
    canvas.paint(f.disc(0.61, -0.1, 0.075), c["dark"])


def face(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.ellipse(0, 1.08, 0.85, 0.42), c["main"])
    canvas.paint(f.ellipse(0, -0.18, 0.66, 0.78), c["dark"])
    canvas.paint(f.box(0, 0.62, 0.17, 0.22), c["skin"])
    canvas.paint(f.ellipse(0, 0.02, 0.5, 0.66), c["skin"])
    for u in (-0.2, 0.2):
        canvas.paint(f.ellipse(u, -0.08, 0.13, 0.08), c["light"])
        canvas.paint(f.disc(u, -0.08, 0.065), c["dark"])
        canvas.paint(f.box(u, -0.27, 0.13, 0.028), c["dark"], ink=False)
    canvas.paint(f.polygon((0, -0.05), (0.09, 0.2), (-0.06, 0.2)), c["second"], ink=False, opacity=0.7)
    canvas.paint(f.ellipse(0, 0.38, 0.18, 0.06), c["lip"])


def mountain(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.polygon((0.15, 0.9), (0.72, -0.2), (1.3, 0.9)), c["second"])
    canvas.paint(f.polygon((-1.2, 0.9), (-0.2, -0.95), (0.8, 0.9)), c["main"])
    canvas.paint(f.polygon((-0.5, -0.4), (-0.2, -0.96), (0.1, -0.4)), c["light"])
    canvas.paint(f.polygon((-0.5, -0.41), (-0.2, -0.41), (-0.36, -0.18)), c["light"], ink=False)
    canvas.paint(f.polygon((-0.22, -0.41), (0.1, -0.41), (-0.02, -0.22)), c["light"], ink=False)


def cat(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.line(0.5, 0.75, 0.85, 0.1, 0.1), c["main"])
    canvas.paint(f.ellipse(0.02, 0.55, 0.52, 0.5), c["main"])
    canvas.paint(f.polygon((-0.5, -0.9), (-0.12, -0.55), (-0.5, -0.3)), c["main"])
    canvas.paint(f.polygon((0.5, -0.9), (0.5, -0.3), (0.12, -0.55)), c["main"])
    canvas.paint(f.ellipse(0, -0.25, 0.52, 0.44), c["main"])
    for u in (-0.2, 0.2):
        canvas.paint(f.disc(u, -0.3, 0.12), c["eye"])
        canvas.paint(f.box(u, -0.3, 0.035, 0.1), c["dark"], ink=False)
    canvas.paint(f.polygon((-0.08, -0.1), (0.08, -0.1), (0, 0.0)), c["lip"], ink=False)
    canvas.paint(f.ellipse(0, 0.68, 0.2, 0.3), c["light"], ink=False, opacity=0.7)


def bridge(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.box(0, 0.1, 1.5, 0.42), c["main"])
    for u in (-0.98, 0.0, 0.98):
        canvas.paint(f.disc(u, 0.6, 0.4), c["ground"])
    canvas.paint(f.box(0, -0.35, 1.5, 0.07), c["second"])
    for u in (-1.1, -0.55, 0.0, 0.55, 1.1):
        canvas.paint(f.box(u, -0.55, 0.06, 0.16), c["second"])


def bird(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.polygon((-1.0, -0.15), (-0.4, -0.05), (-0.45, 0.25), (-1.0, 0.25)), c["second"])
    for u in (-0.05, 0.15):
        canvas.paint(f.line(u, 0.45, u, 0.92, 0.04), c["beak"])
    canvas.paint(f.polygon((0.8, -0.5), (1.08, -0.36), (0.78, -0.24)), c["beak"])
    canvas.paint(f.ellipse(0.0, 0.15, 0.62, 0.4), c["main"])
    canvas.paint(f.disc(0.52, -0.38, 0.34), c["main"])
    canvas.paint(f.ellipse(-0.15, 0.08, 0.38, 0.2, 0.25), c["second"])
    canvas.paint(f.disc(0.6, -0.44, 0.1), c["light"])
    canvas.paint(f.disc(0.62, -0.44, 0.055), c["dark"])


def windmill(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.polygon((-0.26, -0.35), (0.26, -0.35), (0.46, 1.0), (-0.46, 1.0)), c["main"])
    canvas.paint(f.polygon((-0.36, -0.3), (0, -0.68), (0.36, -0.3)), c["second"])
    canvas.paint(f.box(0, 0.78, 0.12, 0.22), c["dark"])
    for u, v in ((0.62, 0.36), (-0.36, 0.62), (-0.62, -0.36), (0.36, -0.62)):
        canvas.paint(f.line(0.1 * u, 0.1 * v - 0.35, 1.15 * u, 1.15 * v - 0.35, 0.1), c["light"])
    canvas.paint(f.disc(0, -0.35, 0.1), c["dark"])


def apple(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.line(0, -0.4, 0.1, -0.85, 0.06), c["wood"])
    canvas.paint(f.ellipse(0.38, -0.72, 0.3, 0.14, -0.4), c["leaf"])
    canvas.paint(f.ellipse(-0.28, 0.12, 0.5, 0.64), c["main"], ink=False)
    canvas.paint(f.ellipse(0.28, 0.12, 0.5, 0.64), c["main"], ink=False)
    canvas.paint(f.ellipse(-0.38, -0.12, 0.1, 0.18, 0.4), c["light"], ink=False)


THINGS: dict[str, Thing] = {
    "house": house,
    "tree": tree,
    "boat": boat,
    "flower": flower,
    "fish": fish,
    "face": face,
    "mountain": mountain,
    "cat": cat,
    "bridge": bridge,
    "bird": bird,
    "windmill": windmill,
    "apple": apple,
}
