"""Selects the names of kept concepts that a method may read: option `--kept-names`.

A user can name some of the concepts that must survive, but never all of them. A comparison is therefore fair only if
all methods that read names get the same names, and if concepts that were not named are scored as well.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from methods.base import Materials
from prompts.concepts import Concept

HALVES = ("half:0", "half:1", "half:2")
"""Three fixed selections of half of the names."""
KEPT_NAMES = ("all", *HALVES, "none")
"""Possible values of `--kept-names`."""


def given_names(names: Sequence[str], choice: str) -> list[str]:
    """Return the names that a method may read, in the order of `names`.

    "half:h" selects the first ceil(n / 2) names when sorted by the SHA-256 of "h:name" (NFC, UTF-8), so that a half
    depends only on the names.

    Args:
        names: names of all kept concepts.
        choice: one of `KEPT_NAMES`.
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
    """Return the materials and the concept that `fit` receives, without the names that `choice` withholds."""
    if choice == "all":
        return materials, concept
    given = set(given_names(list(dict.fromkeys([*materials.preserve, *concept.neighbours])), choice))
    shown = {*given, *concept.targets}
    captions = {name: pairs for name, pairs in materials.in_context.items() if name in shown}
    preserve = [name for name in materials.preserve if name in given]
    neighbours = tuple(name for name in concept.neighbours if name in given)
    return replace(materials, preserve=preserve, in_context=captions), replace(concept, neighbours=neighbours)
