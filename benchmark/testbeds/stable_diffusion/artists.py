"""Painters of a list of titles, and the part each plays; torch-free, since `bench list artists` reads it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from benchmark.errors import DataError
from benchmark.testbeds.stable_diffusion.definition import PAINTERS
from prompts.lists import read_prompts

Part = Literal["target", "neighbour", "kept"]
PARTS: dict[str, Part] = {"targets": "target", "neighbours": "neighbour", "kept": "kept"}


@dataclass(frozen=True)
class Artist:
    """One painter, and what becomes of them unless `--targets` says otherwise."""

    name: str
    part: Part
    subject: str = ""
    neighbour_of: str = ""

    @property
    def surname(self) -> str:
        """The last word, with the small ones before it: "van Gogh"."""
        words = self.name.split()
        start = len(words) - 1
        while start > 1 and words[start - 1].islower():
            start -= 1
        return " ".join(words[start:])


@cache
def artists(titles: Path) -> tuple[Artist, ...]:
    """The painters in the order of the list. DataError for a list without targets or without any who is kept."""
    parts: dict[str, Part] = {}
    spellings: dict[str, str] = {}
    for row in read_prompts(titles):
        if row.part not in PARTS or not row.target:
            raise DataError(
                f"{titles}, {row.id}: a row of painters needs a target, and a part of {', '.join(PARTS)}; "
                f"its part is '{row.part}'."
            )
        plain = unicodedata.normalize("NFKC", row.target).casefold()
        if spellings.setdefault(plain, row.target) != row.target:
            raise DataError(
                f"{titles}, {row.id}: the painter {row.target!r} is spelt {spellings[plain]!r} in another row; spell "
                "the name alike in all rows."
            )
        if parts.setdefault(row.target, PARTS[row.part]) != PARTS[row.part]:
            raise DataError(f"{titles}, {row.id}: {row.target} is of two parts; give all rows of a painter the same.")
    for needed in ("target", "kept"):
        if needed not in parts.values():
            raise DataError(f"{titles} has no painter of part '{needed}{'s' if needed == 'target' else ''}': add one.")
    return tuple(Artist(name, part) for name, part in parts.items())


ARTISTS = artists(PAINTERS)
