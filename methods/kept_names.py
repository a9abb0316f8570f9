"""Which names of concepts that stay a method may read: `--kept-names`.

A user can name some of what must survive, but never all of it. A comparison is fair only if methods that read names are
given the same ones, and if concepts that nobody named are scored as well.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from methods.base import Materials
from prompts.concepts import Concept

HALVES = ("half:0", "half:1", "half:2")
"""Three fixed halves of the names."""
KEPT_NAMES = ("all", *HALVES, "none")
"""The choices."""


def given_names(names: Sequence[str], choice: str) -> list[str]:
    """Return the names that a method may read under one of the choices, in the order of `names`.

    half:h holds the first ceil(n / 2) names in the order of the sha256 of "h:name" in NFC and UTF-8, so that a half
    depends on nothing but the names.
    """
    if choice == "all":
        return list(names)
    if choice == "none":
        return []
    half = choice.removeprefix("half:")

    def digest(name: str) -> str:
        return hashlib.sha256(f"{half}:{unicodedata.normalize('NFC', name)}".encode()).hexdigest()

    given = set(sorted(names, key=digest)[: (len(names) + 1) // 2])
    return [name for name in names if name in given]


def restricted(materials: Materials, concept: Concept, choice: str) -> tuple[Materials, Concept]:
    """Return materials and concept without the names that are not given: what `fit` receives."""
    if choice == "all":
        return materials, concept
    given = set(given_names(list(dict.fromkeys([*materials.preserve, *concept.neighbours])), choice))
    shown = {*given, *concept.targets}
    captions = {name: pairs for name, pairs in materials.in_context.items() if name in shown}
    preserve = [name for name in materials.preserve if name in given]
    neighbours = tuple(name for name in concept.neighbours if name in given)
    return replace(materials, preserve=preserve, in_context=captions), replace(concept, neighbours=neighbours)
