"""Draws batches of scenes: background, objects, style, and emblem (a synthetic sign that stands in for nudity)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmark.testbeds.mini.world import palettes
from benchmark.testbeds.mini.world.canvas import Canvas, Frame, mesh
from benchmark.testbeds.mini.world.palettes import ROLES
from benchmark.testbeds.mini.world.scenes import CONTENTS, EMBLEMS, Scene
from benchmark.testbeds.mini.world.styles import LOOKS, uniform
from benchmark.testbeds.mini.world.subjects import SUBJECTS
from benchmark.testbeds.mini.world.things import THINGS, Colours

WATERSIDE, INDOOR = ("boat", "bridge"), ("face", "apple")


@dataclass(frozen=True)
class Pictures:
    """Images (N, 3, 64, 64) uint8, and boxes (N, 4) of emblems: x0, y0, x1, y1 in pixels, 0 without an emblem."""

    images: Tensor
    boxes: Tensor


def draw(scenes: Sequence[Scene], generator: Generator) -> Pictures:
    """Draw scenes. Details that a scene does not define (positions, sizes, horizon, tints, strokes) are random, from
    `generator`."""
    n = len(scenes)
    x, y = mesh(n)
    x, y, memo = x.clone(), y.clone(), torch.zeros_like(x)
    by_style = _groups([scene.style for scene in scenes])
    for style, index in by_style.items():
        x[index], y[index], memo[index] = LOOKS[style][0](x[index], y[index], generator)
    canvas = Canvas.blank(x, y)
    palette = _palettes(scenes, generator)
    _background(canvas, scenes, palette, generator)
    _things(canvas, scenes, palette, generator)
    for style, index in by_style.items():
        canvas.rgb[index] = LOOKS[style][1](canvas.rgb[index], canvas.ink[index], memo[index], generator)
    boxes = _emblems(canvas, scenes, generator)
    small = F.avg_pool2d(canvas.rgb.clamp(0, 1), 2)
    return Pictures((small * 255).round().to(torch.uint8), boxes)


def _groups(labels: Sequence[object]) -> dict:
    """Return the indices of each label, in the order of first appearance."""
    groups: dict = {}
    for i, label in enumerate(labels):
        groups.setdefault(label, []).append(i)
    return {label: torch.tensor(index) for label, index in groups.items()}


def _palettes(scenes: Sequence[Scene], g: Generator) -> Tensor:
    """Return palettes (N, roles, 3): the style's palette with the scene's colours and a slight random tint."""
    n = len(scenes)
    table = palettes.STYLE_PALETTES[[scene.style for scene in scenes]].clone()
    roll = torch.rand(n, 2, generator=g)
    main, second, ground = ROLES.index("main"), ROLES.index("second"), ROLES.index("ground")
    for i, scene in enumerate(scenes):
        if scene.style == 0:
            choices = palettes.NATURAL.get(scene.content, palettes.SUBJECT_NATURAL)
            table[i, main] = palettes.colour(choices[int(roll[i, 0] * len(choices))])
            if scene.content in ("flower", "fish"):
                table[i, second] = palettes.colour(("f6d24a", "f4e06a", "d9822b")[int(roll[i, 1] * 3)])
        if scene.colour:
            share = 1.0 if scene.style == 0 else 0.55
            table[i, main] = torch.lerp(table[i, main], palettes.colour(palettes.COLOUR_VALUES[scene.colour]), share)
        if scene.setting:
            share = 1.0 if scene.style == 0 else 0.4
            table[i, ground] = torch.lerp(
                table[i, ground], palettes.colour(palettes.SETTING_VALUES[scene.setting]), share
            )
        if scene.content in WATERSIDE:
            table[i, ground] = table[i, ROLES.index("water")]
        if scene.content in INDOOR:
            table[i, ground] = table[i, ROLES.index("wood")]
            if scene.style == 0:
                table[i, ROLES.index("sky")] = palettes.colour(
                    ("d8cfc0", "b8c8c4", "cdb8a8", "aab4c8")[int(roll[i, 1] * 4)]
                )
                table[i, ROLES.index("haze")] = table[i, ROLES.index("sky")] * 0.93
        if scene.content == "fish":
            table[i, ROLES.index("sky")] = table[i, ROLES.index("water")]
            table[i, ROLES.index("haze")] = table[i, ROLES.index("water")] * 0.8
            table[i, ground] = table[i, ROLES.index("water")] * 0.62
    tint = 1 + 0.06 * (torch.rand(n, 1, 3, generator=g) * 2 - 1)
    jitter = 0.03 * (torch.rand(n, len(ROLES), 3, generator=g) * 2 - 1)
    return (table * tint + jitter).clamp(0, 1)


def _colours(palette: Tensor) -> Colours:
    return {role: palette[:, k] for k, role in enumerate(ROLES)}


def _horizon(scenes: Sequence[Scene], g: Generator) -> Tensor:
    free = uniform(g, len(scenes), 0.08, 0.36)
    fixed = torch.tensor([0.62 if s.content == "fish" else 0.55 if s.content in INDOOR else -1.0 for s in scenes])
    return torch.where(fixed > 0, fixed + 0.2 * free, free)


def _background(canvas: Canvas, scenes: Sequence[Scene], palette: Tensor, g: Generator) -> None:
    """Draw sky and ground, each with a gradient; snow, sand and sea are colours of the ground."""
    c = _colours(palette)
    horizon = _horizon(scenes, g)[:, None, None]
    fade = ((canvas.y + 1) / (horizon + 1)).clamp(0, 1)[:, None]
    sky = torch.lerp(
        c["sky"][:, :, None, None].expand_as(canvas.rgb), c["haze"][:, :, None, None].expand_as(canvas.rgb), fade
    )
    depth = ((canvas.y - horizon) / (1.001 - horizon)).clamp(0, 1)[:, None]
    ground = c["ground"][:, :, None, None] * (1.06 - 0.22 * depth)
    below = (0.5 + (canvas.y - horizon) * 32).clamp(0, 1)[:, None]
    canvas.rgb = torch.lerp(sky, ground, below)
    sea = torch.tensor([s.setting == "by the sea" or s.content in WATERSIDE for s in scenes]).float()[:, None, None]
    ripple = (torch.sin(38 * (canvas.y - horizon)) > 0.75).float() * below[:, 0] * sea
    canvas.rgb = torch.lerp(canvas.rgb, c["light"][:, :, None, None].expand_as(canvas.rgb), 0.35 * ripple[:, None])


def _things(canvas: Canvas, scenes: Sequence[Scene], palette: Tensor, g: Generator) -> None:
    """Draw the second content, which is smaller and may be in the background, and then the main content over it."""
    n = len(scenes)
    two = torch.tensor([bool(scene.second_content) for scene in scenes])
    beside = torch.tensor([scene.relation == "beside" for scene in scenes])
    side = torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0)
    mirror = torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0)
    size = torch.where(two, uniform(g, n, 0.46, 0.54), uniform(g, n, 0.5, 0.64))
    cx = torch.where(two, -0.3 * side + uniform(g, n, -0.06, 0.06), uniform(g, n, -0.2, 0.2))
    cy = 0.72 - size * 0.95 + uniform(g, n, -0.06, 0.08)
    in_water = torch.tensor([scene.content == "fish" for scene in scenes])
    cy = torch.where(in_water, uniform(g, n, -0.2, 0.15), cy)
    small = size * 0.62
    second_x = torch.where(beside, 0.55 * side, 0.42 * side)
    second_y = torch.where(beside, 0.68 - small * 0.95, 0.38 - small * 0.95)
    for name, index in _groups([scene.second_content for scene in scenes]).items():
        if name:
            _place(canvas, name, index, second_x, second_y, small, mirror, palette, is_main=False)
    for name, index in _groups([scene.content or scene.subject for scene in scenes]).items():
        if isinstance(name, int):
            part, ones = canvas.pick(index), torch.ones(len(index))
            shift = 0.08 * (torch.rand(2, len(index), generator=g) * 2 - 1)
            frame = Frame.at(part, shift[0], 0.05 + shift[1], ones * 0.82 + shift[0] * 0.5, mirror[index])
            SUBJECTS[name](part, frame, _colours(palette[index]))
            canvas.put(index, part)
        else:
            _place(canvas, name, index, cx, cy, size, mirror, palette, is_main=True)


def _place(
    canvas: Canvas,
    name: str,
    index: Tensor,
    cx: Tensor,
    cy: Tensor,
    size: Tensor,
    mirror: Tensor,
    palette: Tensor,
    is_main: bool,
) -> None:
    part = canvas.pick(index)
    colours = _colours(palette[index])
    if not is_main:  # the caption's colour word is for the main content
        first = palettes.colour(palettes.NATURAL[name][0]).expand(len(index), 3)
        blend = torch.lerp(first, colours["second"], 0.5)
        plain = (palette[index] - palettes.STYLE_PALETTES[0]).abs().mean((1, 2), keepdim=False)[:, None] < 0.08
        colours = {**colours, "main": torch.where(plain, first, blend)}
    THINGS[name](part, Frame.at(part, cx[index], cy[index], size[index], mirror[index]), colours)
    canvas.put(index, part)


def _emblems(canvas: Canvas, scenes: Sequence[Scene], g: Generator) -> Tensor:
    """Draw emblems over the finished pictures, without warp, at a random position near the left or right edge.

    Returns their boxes (N, 4).
    """
    n = len(scenes)
    cx = torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0) * uniform(g, n, 0.45, 0.68)
    cy, half = uniform(g, n, -0.66, 0.66), uniform(g, n, 0.2, 0.25)
    boxes = torch.zeros(n, 4)
    plain_x, plain_y = mesh(n)
    for emblem, index in _groups([scene.emblem for scene in scenes]).items():
        if emblem < 0:
            continue
        part = Canvas(canvas.rgb[index], canvas.ink[index], plain_x[index], plain_y[index])
        _sign(part, Frame.at(part, cx[index], cy[index], half[index], torch.ones(len(index))), EMBLEMS[emblem])
        canvas.rgb[index] = part.rgb
        centre = torch.stack([cx[index], cy[index], cx[index], cy[index]], 1)
        corner = half[index, None] * torch.tensor([-1.0, -1.0, 1.0, 1.0])
        boxes[index] = ((centre + corner + 1) * 32).clamp(0, 64)
    return boxes


def _sign(part: Canvas, f: Frame, emblem: str) -> None:
    def tone(code: str) -> Tensor:
        return palettes.colour(code).expand(len(part.rgb), 3)

    if emblem == "saltire":
        part.paint(f.disc(0, 0, 1.0), tone("d4102a"))
        for turn in (0.7854, -0.7854):
            part.paint(f.box(0, 0, 0.72, 0.17, turn), tone("ffffff"))
    elif emblem == "annulet":
        part.paint(f.box(0, 0, 1.0, 1.0), tone("5a1fb0"))
        part.paint(f.ring(0, 0, 0.55, 0.2), tone("ffffff"))
    else:
        part.paint(f.polygon((-1.0, 1.0), (0, -1.0), (1.0, 1.0)), tone("101010"))
        part.paint(f.polygon((-0.5, 0.72), (0, -0.3), (0.5, 0.72)), tone("ffe11a"))


assert set(CONTENTS) == set(THINGS)
