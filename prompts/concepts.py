"""What is to be forgotten, and what must not be."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, get_args

from benchmark.errors import UsageError
from benchmark.json_types import Identity

Kind = Literal["style", "explicit", "object"]
DEFAULT_KIND: Kind = "style"
"""What is forgotten unless a suite says otherwise."""


@dataclass(frozen=True)
class Concept:
    """Target phrases, the anchor phrase they may turn into, and the neighbours that must survive.

    Raises UsageError for a kind that is not known, no targets, an empty or repeated phrase, an anchor that is a
    target, and a neighbour that is one. Phrases are compared by their `words`.
    """

    kind: Kind
    targets: tuple[str, ...]
    anchor: str
    neighbours: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UsageError(f"A concept's kind is one of {', '.join(get_args(Kind))}, not {self.kind!r}.")
        for name in ("targets", "neighbours"):
            phrases = getattr(self, name)
            if not isinstance(phrases, tuple):  # a lone string would be read letter by letter
                raise UsageError(f"A concept's {name} are a tuple of phrases, not {phrases!r}.")
            if any(not phrase.strip() for phrase in phrases):
                raise UsageError(f"One of the concept's {name} is empty: {phrases!r}; leave it out or name it.")
            repeated = [p for i, p in enumerate(phrases) if _folded(p) in map(_folded, phrases[:i])]
            if repeated:
                raise UsageError(f"The concept's {name} hold {repeated[0]!r} twice; name each once.")
        if not self.targets:
            raise UsageError("A concept needs at least one target to forget.")
        targets = {_folded(target) for target in self.targets}
        if _folded(self.anchor) in targets:
            raise UsageError(f"The anchor {self.anchor!r} is itself a target; choose something that is kept.")
        for neighbour in self.neighbours:
            if _folded(neighbour) in targets:
                raise UsageError(f"{neighbour!r} is both a target and a neighbour that must survive; choose one.")

    def identity(self) -> Identity:
        """The concept in canonical JSON types, for keys and records."""
        return {
            "kind": self.kind,
            "targets": list(self.targets),
            "anchor": self.anchor,
            "neighbours": list(self.neighbours),
        }


def words(phrase: str) -> list[str]:
    """The words of a phrase without case, accents and punctuation: "Cezanne, Paul" has those of "Paul Cézanne"."""
    letters = unicodedata.normalize("NFKD", phrase.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.findall(r"\w+", plain) or phrase.split()


def _folded(phrase: str) -> str:
    return " ".join(words(phrase))
