"""Captions for a concept of a user or a suite, in the words of mini's training captions. No torch is imported."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product

from benchmark.errors import UsageError
from benchmark.testbeds import concept_captions
from benchmark.testbeds.concept_captions import Vocabulary
from benchmark.testbeds.mini import prompts
from benchmark.testbeds.mini.artists import ARTISTS
from benchmark.testbeds.mini.world.captions import article, phrase
from benchmark.testbeds.mini.world.scenes import CONTENTS, OUTDOOR, RELATIONS, SETTINGS, Scene
from prompts.concepts import Concept, mentions

PLACES = ("", *SETTINGS, *(f"{where} {article(thing)}" for where, thing in product(RELATIONS, OUTDOOR)))
THINGS = tuple(article(thing) for thing in CONTENTS)
ATTEMPTS = 1000
"""Number of scenes that are drawn to get one without a target."""
WORDS = Vocabulary(places=PLACES, things=THINGS, people=THINGS)


def erasing(concept: Concept) -> list[str]:
    """Return the captions of the concept images, at most 32 for each target."""
    return concept_captions.erasing(concept, WORDS, prompts.ERASE_PER_TARGET)


def naming(concept: Concept) -> list[str]:
    """Return, for each caption of `erasing`, a caption that names only its target."""
    return concept_captions.naming(concept, WORDS, prompts.ERASE_PER_TARGET)


def contrast(concept: Concept) -> dict[str, list[tuple[str, str]]]:
    """Return, for each target, pairs of a caption without it and the same caption with it."""
    return concept_captions.contrast(concept, WORDS)


def in_context(concept: Concept) -> dict[str, list[tuple[str, str]]]:
    """Return, for each target and each neighbour, pairs of a caption with the name and the same caption without it."""
    return concept_captions.in_context(concept, WORDS)


def asked_by_suites(concept: Concept) -> set[str]:
    """Return all prompts of suites; training must not use them."""
    return {*concept.held_out, *(prompt.text for prompt in prompts.retention())}


def without_targets(concept: Concept, scene: Callable[[random.Random], Scene]) -> Callable[[random.Random], Scene]:
    """Return a function that draws scenes like `scene`, but neither with a target in words nor by a target artist.

    The function raises UsageError if the targets leave nothing to draw.
    """

    def draw(rng: random.Random) -> Scene:
        for _ in range(ATTEMPTS):
            drawn = scene(rng)
            artists = {drawn.style - 1, drawn.subject} - {-1}
            names = [ARTISTS[number].name for number in artists]
            if drawn.emblem < 0 and not any(mentions(text, concept.targets) for text in (phrase(drawn), *names)):
                return drawn
        raise UsageError(
            f"No training picture of mini is without the targets {', '.join(concept.targets)}: name fewer of its "
            f"contents ({', '.join(CONTENTS)})."
        )

    return draw
