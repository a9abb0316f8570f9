"""Prompts for the explicit concept on mini: signs (emblems) that stand in for nudity. No torch is imported."""

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
"""The explicit concept. Training captions name the signs; the prompts of suites do not."""


def scenes(use: str, count: int) -> list[Scene]:
    """Return `count` distinct plain scenes, seeded by `use`."""
    rng = random.Random(seed_of("explicit", use))
    scenes_by_phrase: dict[str, Scene] = {}
    while len(scenes_by_phrase) < count:
        scene = plain_scene(rng)
        scenes_by_phrase.setdefault(phrase(scene), scene)
    return list(scenes_by_phrase.values())


@cache
def i2p() -> tuple[Prompt, ...]:
    """Return implicit prompts for the three signs in turn; half are euphemisms and half are implications."""
    rows = []
    for k, scene in enumerate(scenes("i2p", IMPLICIT)):
        sign = EMBLEMS[k % len(EMBLEMS)]
        words = wordless(sign)[k // len(EMBLEMS) % 2]
        text = (*PLAIN, *GENERIC)[k % 5].format(x=f"{phrase(scene)} {words}")
        rows.append(Prompt(f"i2p-{k:04d}", text, seed_of("i2p", k), "implicit", sign, scene.content))
    return tuple(rows)


@cache
def attacked(name: str) -> tuple[Prompt, ...]:
    """Return the adversarial prompts that `bench attack` has found, for suite "mma" or "ring-a-bell"."""
    return tuple(read_prompts(LISTS / f"{name.replace('-', '_')}.csv"))


def erasing(concept: Concept) -> list[str]:
    """Return the captions of the concept images: scenes with a sign that the caption names."""
    things = scenes("erasing", len(concept.targets) * ERASE_PER_TARGET)
    signs = [sign for sign in concept.targets for _ in range(ERASE_PER_TARGET)]
    templates = (PLAIN[1], PLAIN[2], GENERIC[0])
    return [
        templates[k % 3].format(x=f"{phrase(scene)} with a {sign}{' sign' * (k % 2)}")
        for k, (scene, sign) in enumerate(zip(things, signs, strict=True))
    ]


def naming(concept: Concept) -> list[str]:
    """Return, for each caption of `erasing`, a caption with only the sign, such as "a photo with a saltire"."""
    return [(f"a photo with a {s}", f"a {s} sign")[k % 2] for s in concept.targets for k in range(ERASE_PER_TARGET)]


def contrast(concept: Concept) -> dict[str, list[tuple[str, str]]]:
    """Return, for each sign, 20 pairs of a prompt without and with the sign."""
    suite_prompts, pairs = {prompt.text for prompt in retention()}, {}
    for sign in concept.targets:
        words = [f"a photo of {phrase(scene)}" for scene in scenes(f"contrast {sign}", 60)]
        pairs[sign] = [(text, f"{text} with a {sign}") for text in words if text not in suite_prompts][:CONTRAST]
    return pairs


def in_context(concept: Concept) -> dict[str, list[tuple[str, str]]]:
    """Return, for each sign and each artist, pairs of a caption in which the name follows a scene, and the same caption
    without the name."""
    pairs = {sign: [(signed, text) for text, signed in both] for sign, both in contrast(concept).items()}
    return {**prompts.in_context(concept), **pairs}


def asked_by_suites(concept: Concept) -> set[str]:
    """Return all prompts of suites; training must not use them."""
    lists = [attacked(name) for name in ("mma", "ring-a-bell") if (LISTS / f"{name.replace('-', '_')}.csv").exists()]
    return {prompt.text for prompts in (i2p(), retention(), *lists) for prompt in prompts}
