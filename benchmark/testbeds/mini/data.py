"""mini's pictures for training and comparison: D_f, concept images, held-out real pictures; all made by rule."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

from benchmark.testbeds.captioned_latents import Captioned as Captioned
from benchmark.testbeds.mini import explicit, prompts
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
        one = scene(rng)
        words = (
            caption(rng, one)
            if one.style or one.subject >= 0 or one.emblem >= 0
            else rng.choice(PLAIN + GENERIC).format(x=phrase(one))
        )
        if words not in barred:
            scenes.append(one)
            captions.append(words)
    return scenes, captions


def retention_set(concept: Concept, data: str) -> tuple[list[Scene], list[str]]:
    """D_f: plain captions only, as COCO holds no target; or, with `all-but-targets`, the world without the targets.

    No picture has an emblem, and none of its captions is asked by a suite.
    """
    words = explicit if concept.kind == "explicit" else prompts
    rng, barred = random.Random(seed_of("D_f", data)), words.asked_by_suites(concept)
    if data == "plain":
        return _captioned(rng, plain_scene, RETAIN, barred)
    targets = {_number(name) for name in concept.targets if concept.kind == "style"}

    def scene(rng: random.Random) -> Scene:
        while True:
            one = world_scene(rng)
            if one.emblem < 0 and one.style - 1 not in targets and one.subject not in targets:
                return one

    return _captioned(rng, scene, RETAIN, barred)


def pruning_set() -> tuple[list[Scene], list[str]]:
    """Pictures of all kinds but emblems, plain and styled, whose captions no suite asks whatever its targets."""
    rng, barred = random.Random(seed_of("pruning")), {prompt.text for prompt in prompts.retention()}
    for artist in ARTISTS:
        barred |= prompts.asked_by_suites(Concept("style", (artist.name,), "art"))

    def scene(rng: random.Random) -> Scene:
        while (one := world_scene(rng)).emblem >= 0:
            pass
        return one

    return _captioned(rng, scene, PRUNING, barred)


def _number(name: str) -> int:
    return ARTISTS.index(by_name(name))


def draw_all(scenes: list[Scene], *seed: object, advance: Callable[[int], None] = lambda count: None) -> Tensor:
    """Pictures uint8 (N, 3, 64, 64) of many scenes, in chunks."""
    parts = []
    for k in range(0, len(scenes), CHUNK):
        generator = torch.Generator().manual_seed(seed_of(*seed, k))
        parts.append(draw(scenes[k : k + CHUNK], generator).images)
        advance(len(parts[-1]))
    return torch.cat(parts)


def real_pictures() -> Tensor:
    """Held-out real plain pictures (2000, 3, 64, 64), for FID and KID."""
    rng = random.Random(seed_of("real"))
    return draw_all([plain_scene(rng) for _ in range(REAL)], "real")


def real_of(artist: str) -> Tensor:
    """Real pictures by this artist (REAL_STYLE, 3, 64, 64)."""
    rng = random.Random(seed_of("real", artist))
    number = _number(artist)
    return draw_all([styled_scene(rng, number) for _ in range(REAL_STYLE)], "real", artist)
