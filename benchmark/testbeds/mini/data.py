"""Draws mini's pictures: the retain set D_f, calibration pictures for prunings, and held-out real pictures."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

from benchmark.parallel import side_by_side
from benchmark.testbeds.captioned_latents import Captioned as Captioned
from benchmark.testbeds.mini import explicit, prompts, user_concept
from benchmark.testbeds.mini.artists import ARTISTS, by_name
from benchmark.testbeds.mini.prompts import seed_of
from benchmark.testbeds.mini.world.captions import GENERIC, PLAIN, caption, phrase
from benchmark.testbeds.mini.world.draw import draw
from benchmark.testbeds.mini.world.scenes import Scene, plain_scene, styled_scene, world_scene
from prompts.concepts import Concept

RETAIN, REAL, REAL_STYLE, PRUNING = 2048, 2000, 64, 512
CHUNK = 256


def _captioned(
    rng: random.Random, scene: Callable[[random.Random], Scene], count: int, barred: set[str]
) -> tuple[list[Scene], list[str]]:
    scenes: list[Scene] = []
    captions: list[str] = []
    while len(scenes) < count:
        drawn = scene(rng)
        words = (
            caption(rng, drawn)
            if drawn.style or drawn.subject >= 0 or drawn.emblem >= 0
            else rng.choice(PLAIN + GENERIC).format(x=phrase(drawn))
        )
        if words not in barred:
            scenes.append(drawn)
            captions.append(words)
    return scenes, captions


def retention_set(concept: Concept, data: str) -> tuple[list[Scene], list[str]]:
    """Return scenes and captions of the retain set D_f.

    A concept that a suite brings has no target in D_f, for either `data`.
    No picture has an emblem (the synthetic sign that stands in for nudity), and no caption is a prompt of a suite.

    Args:
        concept: the erased concept.
        data: "plain" for plain pictures, like COCO in the paper, which does not show the targets either;
            "all-but-targets" for pictures of all styles and subjects except those of the targets.
    """
    rng = random.Random(seed_of("D_f", data))
    if concept.is_brought:
        scenes = user_concept.without_targets(concept, plain_scene if data == "plain" else world_scene)
        return _captioned(rng, scenes, RETAIN, user_concept.asked_by_suites(concept))
    module = explicit if concept.kind == "explicit" else prompts
    barred = module.asked_by_suites(concept)
    if data == "plain":
        return _captioned(rng, plain_scene, RETAIN, barred)
    targets = {_number(name) for name in concept.targets if concept.kind == "style"}

    def scene(rng: random.Random) -> Scene:
        while True:
            drawn = world_scene(rng)
            if drawn.emblem < 0 and drawn.style - 1 not in targets and drawn.subject not in targets:
                return drawn

    return _captioned(rng, scene, RETAIN, barred)


def pruning_set() -> tuple[list[Scene], list[str]]:
    """Return scenes and captions for prunings: plain and styled, without emblems.

    No caption is a prompt of a suite, for any targets.
    """
    rng, barred = random.Random(seed_of("pruning")), {prompt.text for prompt in prompts.retention()}
    for artist in ARTISTS:
        barred |= prompts.asked_by_suites(Concept("style", (artist.name,), "art"))

    def scene(rng: random.Random) -> Scene:
        while (drawn := world_scene(rng)).emblem >= 0:
            pass
        return drawn

    return _captioned(rng, scene, PRUNING, barred)


def _number(name: str) -> int:
    return ARTISTS.index(by_name(name))


def draw_all(scenes: list[Scene], *seed: object, advance: Callable[[int], None] = lambda count: None) -> Tensor:
    """Draw pictures (N, 3, 64, 64) uint8 of scenes, in chunks that run side by side, one per core.

    Args:
        scenes: what to draw.
        seed: values that seed the drawing.
        advance: called after each chunk with its number of pictures.
    """

    def chunk(start: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed_of(*seed, start))
        return draw(scenes[start : start + CHUNK], generator).images

    parts = []
    for images in side_by_side(chunk, range(0, len(scenes), CHUNK), torch.device("cpu")):
        parts.append(images)
        advance(len(images))
    return torch.cat(parts)


def real_pictures() -> Tensor:
    """Return held-out real plain pictures (2000, 3, 64, 64) uint8, for FID and KID."""
    rng = random.Random(seed_of("real"))
    return draw_all([plain_scene(rng) for _ in range(REAL)], "real")


def real_of(artist: str) -> Tensor:
    """Return real pictures by an artist (REAL_STYLE, 3, 64, 64) uint8."""
    rng = random.Random(seed_of("real", artist))
    number = _number(artist)
    return draw_all([styled_scene(rng, number) for _ in range(REAL_STYLE)], "real", artist)
