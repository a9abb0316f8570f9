"""Reads the painters in a list of titles and their parts. Imports no torch, so that `bench list artists` is fast."""

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
    """A painter and their default part; `--targets` overrides who is a target."""

    name: str
    part: Part
    subject: str = ""
    neighbour_of: str = ""

    @property
    def surname(self) -> str:
        """The last word of the name and the lower-case words before it, such as "van Gogh"."""
        words = self.name.split()
        start = len(words) - 1
        while start > 1 and words[start - 1].islower():
            start -= 1
        return " ".join(words[start:])


@cache
def artists(titles: Path) -> tuple[Artist, ...]:
    """Return the painters of a list of titles, in order of first appearance.

    Raises:
        DataError: if a row is invalid, a name is spelt in several ways, a painter has two parts, or the list has no
            target or no kept painter.
    """
    parts: dict[str, Part] = {}
    spellings: dict[str, str] = {}
    for row in read_prompts(titles):
        if row.part not in PARTS or not row.target:
            raise DataError(
                f"{titles}, {row.id}: every row needs a target, and a part that is one of {', '.join(PARTS)}; "
                f"its part is '{row.part}'."
            )
        plain = unicodedata.normalize("NFKC", row.target).casefold()
        if spellings.setdefault(plain, row.target) != row.target:
            raise DataError(
                f"{titles}, {row.id}: the painter {row.target!r} is spelt {spellings[plain]!r} in another row; use one "
                "spelling in all rows."
            )
        if parts.setdefault(row.target, PARTS[row.part]) != PARTS[row.part]:
            raise DataError(
                f"{titles}, {row.id}: {row.target} has two parts; give all rows of a painter the same part."
            )
    for needed in ("target", "kept"):
        if needed not in parts.values():
            raise DataError(f"{titles} has no painter of part '{needed}{'s' if needed == 'target' else ''}': add one.")
    return tuple(Artist(name, part) for name, part in parts.items())


ARTISTS = artists(PAINTERS)
