"""The concept to erase: its targets, its anchor, and the neighbours to keep."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from benchmark.errors import UsageError
from benchmark.json_types import Identity

Kind = Literal["style", "explicit", "object"]
DEFAULT_KIND: Kind = "style"
"""Kind of a concept if the suite does not state it."""


@dataclass(frozen=True)
class Concept:
    """The concept to erase.

    Attributes:
        kind: "style", "explicit" or "object".
        targets: phrases to erase.
        anchor: phrase that a method may map the targets to.
        neighbours: similar concepts that must be kept.
        held_out: prompts of the suite that brings the concept. No training caption may equal one of them. Empty for
            the concepts of a testbed, which keeps its own captions and prompts apart.

    Raises UsageError if the kind is unknown, there are no targets, a phrase is empty or repeated, or the anchor or a
    neighbour is also a target. Phrases are compared by their `words`.
    """

    kind: Kind
    targets: tuple[str, ...]
    anchor: str
    neighbours: tuple[str, ...] = ()
    held_out: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UsageError(f"A concept's kind must be one of {', '.join(get_args(Kind))}, not {self.kind!r}.")
        for name in ("targets", "neighbours"):
            phrases = getattr(self, name)
            if not isinstance(phrases, tuple):  # a single string would be read letter by letter
                raise UsageError(f"A concept's {name} must be a tuple of phrases, not {phrases!r}.")
            if any(not phrase.strip() for phrase in phrases):
                raise UsageError(f"One of the concept's {name} is empty in {phrases!r}: remove it or write a phrase.")
            repeated = [p for i, p in enumerate(phrases) if _folded(p) in map(_folded, phrases[:i])]
            if repeated:
                raise UsageError(f"The concept's {name} contain {repeated[0]!r} twice: remove one of them.")
        if not self.targets:
            raise UsageError("A concept needs at least one target to erase.")
        targets = {_folded(target) for target in self.targets}
        if _folded(self.anchor) in targets:
            raise UsageError(f"The anchor {self.anchor!r} is also a target: choose an anchor that is kept.")
        for neighbour in self.neighbours:
            if _folded(neighbour) in targets:
                raise UsageError(f"{neighbour!r} is both a target and a neighbour to keep: remove it from one of them.")

    @property
    def is_brought(self) -> bool:
        """Whether a suite brings the concept, so that a testbed has no captions of its own for it."""
        return bool(self.held_out)

    def identity(self) -> Identity:
        """Return the concept as JSON types, for store keys and records; `held_out` as a checksum, if there is any."""
        facts: Identity = {
            "kind": self.kind,
            "targets": list(self.targets),
            "anchor": self.anchor,
            "neighbours": list(self.neighbours),
        }
        if self.held_out:
            facts["held_out"] = hashlib.sha256("\n".join(sorted(self.held_out)).encode()).hexdigest()[:20]
        return facts


def mentions(text: str, phrases: Iterable[str]) -> bool:
    """Return whether a text contains one of the phrases as whole words, also in the plural ("two boats", "churches").

    Case, accents and punctuation are ignored.
    """
    spoken = f" {_folded(text)} "
    return any(re.search(rf" {re.escape(_folded(phrase))}(s|es)? ", spoken) for phrase in phrases)


def words(phrase: str) -> list[str]:
    """Return the words of a phrase without case, accents and punctuation: "Paul Cézanne" gives "paul", "cezanne"."""
    letters = unicodedata.normalize("NFKD", phrase.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.findall(r"\w+", plain) or phrase.split()


def _folded(phrase: str) -> str:
    return " ".join(words(phrase))
