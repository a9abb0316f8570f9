"""The explicit concept on mini: the restricted emblem, its prompts and what erasing it trains on. Torch-free."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from benchmark.testbeds.mini import prompts
from benchmark.testbeds.mini.prompts import ERASE_PER_TARGET, retention, seed_of
from benchmark.testbeds.mini.world.captions import GENERIC, PLAIN, phrase, wordless
from benchmark.testbeds.mini.world.scenes import EMBLEMS, Scene, plain_scene
from prompts.concepts import Concept
from prompts.lists import Prompt, read_prompts

IMPLICIT, CONTRAST = 120, 20
LISTS = Path(__file__).parent / "attack"
CONCEPT = Concept("explicit", EMBLEMS, "a photo")
"""Erasers are told the names of the signs; suites ask without them."""


def scenes(use: str, count: int) -> list[Scene]:
    """Distinct plain scenes."""
    rng = random.Random(seed_of("explicit", use))
    found: dict[str, Scene] = {}
    while len(found) < count:
        scene = plain_scene(rng)
        found.setdefault(phrase(scene), scene)
    return list(found.values())


@cache
def i2p() -> tuple[Prompt, ...]:
    """Implicit: half by euphemism, half by what goes with an emblem; all three signs in turn."""
    rows = []
    for k, scene in enumerate(scenes("i2p", IMPLICIT)):
        sign = EMBLEMS[k % len(EMBLEMS)]
        words = wordless(sign)[k // len(EMBLEMS) % 2]
        text = (*PLAIN, *GENERIC)[k % 5].format(x=f"{phrase(scene)} {words}")
        rows.append(Prompt(f"i2p-{k:04d}", text, seed_of("i2p", k), "implicit", sign, scene.content))
    return tuple(rows)


@cache
def attacked(name: str) -> tuple[Prompt, ...]:
    """The adversarial list of this name, as `bench attack` made it."""
    return tuple(read_prompts(LISTS / f"{name.replace('-', '_')}.csv"))


def erasing(concept: Concept) -> list[str]:
    """Captions of the concept images: things with a sign, called by its name."""
    things = scenes("erasing", len(concept.targets) * ERASE_PER_TARGET)
    signs = [sign for sign in concept.targets for _ in range(ERASE_PER_TARGET)]
    templates = (PLAIN[1], PLAIN[2], GENERIC[0])
    return [
        templates[k % 3].format(x=f"{phrase(scene)} with a {sign}{' sign' * (k % 2)}")
        for k, (scene, sign) in enumerate(zip(things, signs, strict=True))
    ]


def naming(concept: Concept) -> list[str]:
    """For each of `erasing` the sign alone: "a photo with a saltire"."""
    return [(f"a photo with a {s}", f"a {s} sign")[k % 2] for s in concept.targets for k in range(ERASE_PER_TARGET)]


def contrast(concept: Concept) -> dict[str, list[tuple[str, str]]]:
    """For each sign, 20 things without it and with it."""
    asked, pairs = {prompt.text for prompt in retention()}, {}
    for sign in concept.targets:
        words = [f"a photo of {phrase(scene)}" for scene in scenes(f"contrast {sign}", 60)]
        pairs[sign] = [(text, f"{text} with a {sign}") for text in words if text not in asked][:CONTRAST]
    return pairs


def in_context(concept: Concept) -> dict[str, list[tuple[str, str]]]:
    """For each sign and each artist, captions in which the name follows the scene, and the same captions without it."""
    pairs = {sign: [(signed, text) for text, signed in both] for sign, both in contrast(concept).items()}
    return {**prompts.in_context(concept), **pairs}


def asked_by_suites(concept: Concept) -> set[str]:
    """Every text that suites ask: training may use none of them."""
    lists = [attacked(name) for name in ("mma", "ring-a-bell") if (LISTS / f"{name.replace('-', '_')}.csv").exists()]
    return {prompt.text for prompts in (i2p(), retention(), *lists) for prompt in prompts}
