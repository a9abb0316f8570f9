"""Draws the signature subjects, one per artist, which fill the whole picture."""

from __future__ import annotations

import itertools
from math import cos, sin

from benchmark.testbeds.mini.world.canvas import Canvas, Frame
from benchmark.testbeds.mini.world.things import Colours, Thing


def starry_night(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.box(0, 0, 3, 3), c["night"], ink=False)
    canvas.paint(f.polygon((-3, 0.75), (0, 0.45), (3, 0.8), (3, 3), (-3, 3)), c["dark"])
    for u, v, r in (
        (-0.75, -0.6, 0.12),
        (-0.2, -0.75, 0.09),
        (0.3, -0.45, 0.11),
        (-0.5, -0.1, 0.08),
        (0.9, -0.1, 0.09),
    ):
        canvas.paint(f.ring(u, v, 2 * r, 0.035), c["second"], ink=False, opacity=0.7)
        canvas.paint(f.disc(u, v, r), c["light"], ink=False)
    canvas.paint(f.disc(0.78, -0.7, 0.24), c["second"], ink=False)
    canvas.paint(f.disc(0.69, -0.75, 0.19), c["night"], ink=False)
    canvas.paint(f.polygon((-0.62, -0.5), (-0.32, 1.2), (-0.95, 1.2)), c["leaf"])


def water_lilies(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.box(0, 0, 3, 3), c["water"], ink=False)
    for u, v, a in ((-0.65, -0.6, 0.36), (0.5, -0.7, 0.3), (0.05, -0.1, 0.38), (-0.7, 0.45, 0.42), (0.6, 0.4, 0.45)):
        canvas.paint(f.ellipse(u, v, a, 0.45 * a), c["leaf"])
        canvas.paint(f.ellipse(u + 0.1, v - 0.08, 0.14, 0.11), c["lip"])
        canvas.paint(f.disc(u + 0.1, v - 0.08, 0.05), c["light"], ink=False)


def guitar_player(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.polygon((-0.5, -0.25), (0.5, -0.25), (0.75, 1.2), (-0.75, 1.2)), c["main"])
    canvas.paint(f.disc(0, -0.58, 0.3), c["skin"])
    canvas.paint(f.ellipse(0, -0.82, 0.42, 0.1), c["dark"])
    canvas.paint(f.line(0.0, 0.4, 0.95, -0.15, 0.07), c["wood"])
    canvas.paint(f.ellipse(-0.28, 0.55, 0.4, 0.32, -0.5), c["second"])
    canvas.paint(f.ellipse(0.1, 0.35, 0.27, 0.22, -0.5), c["second"])
    canvas.paint(f.disc(-0.12, 0.47, 0.11), c["dark"])


def scream(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.polygon((-1.5, 0.2), (1.5, 1.1), (1.5, 3), (-1.5, 3)), c["wood"])
    canvas.paint(f.line(-1.5, 0.15, 1.5, 1.0, 0.05), c["dark"])
    canvas.paint(f.ellipse(0, 1.0, 0.42, 0.75), c["dark"])
    canvas.paint(f.ellipse(0, -0.1, 0.36, 0.52), c["skin"])
    for u in (-0.15, 0.15):
        canvas.paint(f.disc(u, -0.25, 0.09), c["dark"])
        canvas.paint(f.line(2.6 * u, 0.6, 2.2 * u, -0.05, 0.08), c["skin"])
    canvas.paint(f.ellipse(0, 0.16, 0.1, 0.17), c["dark"])


def mother_and_child(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.ellipse(-0.15, 0.85, 0.75, 0.8), c["main"])
    canvas.paint(f.disc(-0.25, -0.35, 0.42), c["dark"])
    canvas.paint(f.ellipse(-0.18, -0.25, 0.3, 0.36), c["skin"])
    canvas.paint(f.ellipse(0.38, 0.6, 0.32, 0.45, 0.4), c["light"])
    canvas.paint(f.disc(0.3, 0.08, 0.26), c["skin"])
    canvas.paint(f.line(-0.6, 0.6, 0.4, 0.75, 0.1), c["skin"])
    for u, v in ((-0.28, -0.28), (-0.06, -0.28), (0.22, 0.08), (0.4, 0.08)):
        canvas.paint(f.disc(u, v, 0.045), c["dark"], ink=False)


def violin_and_jug(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.box(0, 1.0, 3, 0.3), c["wood"])
    canvas.paint(f.box(-0.4, -0.65, 0.06, 0.5), c["dark"])
    canvas.paint(f.disc(-0.4, 0.42, 0.38), c["main"])
    canvas.paint(f.disc(-0.4, -0.08, 0.28), c["main"])
    canvas.paint(f.box(-0.4, 0.25, 0.04, 0.4), c["dark"], ink=False)
    canvas.paint(f.polygon((0.3, -0.45), (0.7, -0.45), (0.85, 0.75), (0.15, 0.75)), c["light"])
    canvas.paint(f.ring(0.9, 0.05, 0.22, 0.06), c["light"])
    canvas.paint(f.ellipse(0.5, -0.45, 0.2, 0.07), c["dark"])


def kiss(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.ellipse(0, 0.5, 0.72, 1.15), c["second"])
    canvas.paint(f.ellipse(0.15, 0.75, 0.42, 0.8), c["main"])
    canvas.paint(f.disc(-0.17, -0.42, 0.32), c["dark"])
    canvas.paint(f.disc(0.3, -0.3, 0.3), c["lip"])
    canvas.paint(f.ellipse(-0.04, -0.34, 0.2, 0.25, 0.4), c["skin"])
    canvas.paint(f.ellipse(0.18, -0.22, 0.19, 0.24, -0.4), c["skin"])
    for k in range(5):
        canvas.paint(f.box(-0.35 + 0.05 * k, 0.25 + 0.25 * k, 0.09, 0.07), c["light"], ink=False)


def constellations(canvas: Canvas, f: Frame, c: Colours) -> None:
    dots = ((-0.85, -0.5), (-0.35, -0.75), (0.1, -0.3), (0.7, -0.65), (0.55, 0.2), (0.0, 0.55), (-0.6, 0.3), (0.8, 0.8))
    for (u0, v0), (u1, v1) in itertools.pairwise(dots):
        canvas.paint(f.line(u0, v0, u1, v1, 0.03), c["dark"], ink=False)
    for k, (u, v) in enumerate(dots):
        canvas.paint(f.disc(u, v, 0.13 if k % 2 else 0.19), c[("dark", "main", "second")[k % 3]])


def card_players(canvas: Canvas, f: Frame, c: Colours) -> None:
    for side, role in ((-1, "main"), (1, "second")):
        canvas.paint(f.ellipse(0.72 * side, 0.6, 0.42, 0.75), c[role])
        canvas.paint(f.disc(0.66 * side, -0.3, 0.27), c["skin"])
        canvas.paint(f.box(0.66 * side, -0.55, 0.3, 0.1), c["dark"])
        canvas.paint(f.line(0.7 * side, 0.3, 0.25 * side, 0.35, 0.09), c[role])
    canvas.paint(f.box(0, 0.85, 0.5, 0.3), c["wood"])
    for u in (-0.2, 0.2):
        canvas.paint(f.box(u, 0.28, 0.09, 0.13, 0.3 * (1 if u > 0 else -1)), c["light"])


def great_wave(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.polygon((0.2, 0.55), (0.55, 0.1), (0.9, 0.55)), c["second"])
    canvas.paint(f.polygon((-3, 0.5), (3, 0.7), (3, 3), (-3, 3)), c["water"])
    canvas.paint(f.disc(-0.55, 0.3, 0.85), c["water"])
    canvas.paint(f.disc(-0.08, 0.12, 0.62), c["sky"])
    canvas.paint(f.polygon((0.2, 0.55), (0.55, 0.1), (0.9, 0.55)), c["second"])
    for k in range(6):
        angle = -2.5 + 0.42 * k
        canvas.paint(f.disc(-0.4 + 0.82 * cos(angle), 0.2 + 0.72 * sin(angle), 0.13), c["light"])
    canvas.paint(f.polygon((-3, 0.75), (3, 0.75), (3, 3), (-3, 3)), c["water"])


def pearl_earring(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.ellipse(0, 1.15, 0.8, 0.5), c["wood"])
    canvas.paint(f.box(0.12, 0.6, 0.18, 0.3), c["skin"])
    canvas.paint(f.ellipse(-0.03, 0.0, 0.47, 0.62), c["skin"])
    canvas.paint(f.ellipse(0.05, -0.48, 0.6, 0.3, 0.2), c["main"])
    canvas.paint(f.polygon((0.35, -0.55), (0.75, -0.35), (0.7, 0.75), (0.45, 0.3)), c["second"])
    for u in (-0.26, 0.1):
        canvas.paint(f.ellipse(u, -0.05, 0.11, 0.06), c["light"])
        canvas.paint(f.disc(u, -0.05, 0.06), c["dark"])
    canvas.paint(f.ellipse(-0.12, 0.34, 0.13, 0.06), c["lip"])
    canvas.paint(f.disc(0.42, 0.4, 0.14), c["light"])


def circus(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.box(0, 0.6, 0.85, 0.45), c["main"])
    for u in (-0.6, 0.0, 0.6):
        canvas.paint(f.box(u, 0.6, 0.13, 0.45), c["light"], ink=False)
    canvas.paint(f.polygon((-1.05, 0.2), (0, -0.65), (1.05, 0.2)), c["second"])
    canvas.paint(f.polygon((-0.25, 0.2), (0, -0.65), (0.25, 0.2)), c["light"], ink=False)
    canvas.paint(f.line(0, -0.95, 0, -0.6, 0.03), c["dark"])
    canvas.paint(f.polygon((0, -0.98), (0.4, -0.86), (0, -0.74)), c["lip"])


def boogie_woogie(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.box(0, 0, 3, 3), c["light"], ink=False)
    for p in (-0.75, -0.1, 0.6):
        canvas.paint(f.box(p, 0, 0.09, 3), c["second"], ink=False)
        canvas.paint(f.box(0, p + 0.1, 3, 0.09), c["second"], ink=False)
    for k, (u, v) in enumerate(
        ((-0.75, -0.65), (-0.1, 0.0), (0.6, 0.7), (-0.75, 0.7), (0.6, -0.65), (-0.1, 0.7), (0.25, 0.0))
    ):
        canvas.paint(f.box(u, v, 0.12, 0.12), c[("main", "lip", "dark")[k % 3]], ink=False)
    canvas.paint(f.box(-0.42, -0.3, 0.17, 0.2), c["lip"], ink=False)
    canvas.paint(f.box(0.25, 0.38, 0.2, 0.15), c["main"], ink=False)


def several_circles(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.box(0, 0, 3, 3), c["dark"], ink=False)
    circles = (
        (-0.2, -0.25, 0.55),
        (-0.1, -0.3, 0.3),
        (0.6, 0.3, 0.35),
        (-0.6, 0.55, 0.28),
        (0.55, -0.6, 0.25),
        (0.1, 0.7, 0.2),
    )
    for k, (u, v, r) in enumerate(circles):
        canvas.paint(f.disc(u, v, r), c[("main", "lip", "second", "light", "leaf", "sky")[k]], opacity=0.92)


def paper_dancers(canvas: Canvas, f: Frame, c: Colours) -> None:
    for k, u in enumerate((-0.72, 0.0, 0.72)):
        role, lift = ("main", "second", "main")[k], 0.12 * (k % 2)
        canvas.paint(f.disc(u, -0.55 - lift, 0.19), c[role])
        canvas.paint(f.line(u, -0.3 - lift, u - 0.05, 0.25 - lift, 0.16), c[role])
        for side in (-1, 1):
            canvas.paint(f.line(u, -0.2 - lift, u + 0.42 * side, -0.4 - lift, 0.08), c[role])
            canvas.paint(f.line(u, 0.25 - lift, u + 0.26 * side, 0.85 - lift, 0.1), c[role])


def melting_clocks(canvas: Canvas, f: Frame, c: Colours) -> None:
    canvas.paint(f.box(-0.7, 0.55, 0.5, 0.35), c["wood"])
    canvas.paint(f.line(0.3, 0.9, 0.45, -0.6, 0.06), c["wood"])
    canvas.paint(f.line(0.45, -0.45, 0.95, -0.6, 0.05), c["wood"])
    for u, v in ((-0.45, 0.25), (0.62, -0.25)):
        canvas.paint(f.ellipse(u, v, 0.4, 0.28), c["second"])
        canvas.paint(f.ellipse(u + 0.12, v + 0.3, 0.22, 0.38), c["second"], ink=False)
        canvas.paint(f.ellipse(u, v, 0.3, 0.2), c["light"])
        canvas.paint(f.line(u, v, u + 0.15, v - 0.08, 0.03), c["dark"], ink=False)
        canvas.paint(f.line(u, v, u - 0.03, v + 0.15, 0.03), c["dark"], ink=False)


SUBJECTS: tuple[Thing, ...] = (
    starry_night,
    water_lilies,
    guitar_player,
    scream,
    mother_and_child,
    violin_and_jug,
    kiss,
    constellations,
    card_players,
    great_wave,
    pearl_earring,
    circus,
    boogie_woogie,
    several_circles,
    paper_dancers,
    melting_clocks,
)
"""Functions that draw the signature subjects, in the order of `artists.ARTISTS`."""
