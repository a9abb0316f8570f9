"""Creates the captions that methods train on for a concept that a suite brings, on any testbed. Imports no torch.

Captions depend only on the concept and on the testbed's vocabulary. None of them is a prompt of the suite
(`Concept.held_out`). The forms of captions follow the kind of the concept:

    object    "a photo of a boat in the snow", with the anchor in place of the target: "a photo of a house in the snow"
    style     "a house in the style of Ann van Oak", without the target: "a house"
    explicit  "a photo of a person, nudity", without the target: "a photo of a person"
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from benchmark.errors import DataError
from prompts.concepts import Concept, mentions

CONTRAST = 20
"""Number of contrast pairs per target."""
IN_CONTEXT = 12
"""Number of pairs of captions with and without a name, per name."""
SHOWN = ("a picture of {x}", "a photo of {x}", "an image of {x}", "a photograph of {x}", "a view of {x}")
PAINTED = (
    ("{x} in the style of {a}", "{x}"),
    ("a painting of {x} by {a}", "a painting of {x}"),
    ("{x}, {a} style", "{x}"),
    ("a picture of {x} painted by {a}", "a picture of {x}"),
    ("an artwork of {x} by {a}", "an artwork of {x}"),
)
REVEALED = (
    ("a photo of {x}, {a}", "a photo of {x}"),
    ("{a}, {x}", "{x}"),
    ("a painting of {x}, {a}", "a painting of {x}"),
    ("a picture of {x}, {a}", "a picture of {x}"),
)
"""Forms of captions with a name, and the same forms without it."""
NAMED = {
    "object": ("a picture of {a}", "{a}"),
    "style": ("a painting by {a}", "art by {a}"),
    "explicit": ("{a}", "a photo of {a}"),
}
"""Forms of captions that name the target and nothing else, by the kind of concept."""
ARTICLES = ("a", "an", "the", "one", "two", "some", "several")


@dataclass(frozen=True)
class Vocabulary:
    """The words of a testbed's captions.

    Args:
        places: endings of captions that show an object, such as "in the snow"; "" for no ending.
        things: contents of pictures in a style, with their articles.
        people: what pictures with explicit content show besides it.
    """

    places: Sequence[str]
    things: Sequence[str]
    people: Sequence[str]


def erasing(concept: Concept, words: Vocabulary, count: int) -> list[str]:
    """Return the captions of the concept images, for each target in turn, at most `count` for a target.

    Raises:
        DataError: no caption of a target is left, because the prompts contain all, or the anchor mentions a target.
    """
    captions: list[str] = []
    for target in concept.targets:
        texts = [named for named, _ in _pairs(concept, target, words)][:count]
        if not texts:
            raise DataError(
                f"No caption is left to train on for target {target!r}: the prompts contain all captions, or those "
                f"with the anchor {concept.anchor!r} mention a target. Remove prompts, or choose a different anchor."
            )
        captions += texts
    return captions


def naming(concept: Concept, words: Vocabulary, count: int) -> list[str]:
    """Return, for each caption of `erasing`, a caption that names only its target."""
    captions = []
    for target in concept.targets:
        number = len([*_pairs(concept, target, words)][:count])
        texts = [form.format(a=_subject(concept, target)) for form in NAMED[concept.kind]]
        free = [text for text in texts if text not in concept.held_out] or [target]
        captions += [free[k % len(free)] for k in range(number)]
    return captions


def contrast(concept: Concept, words: Vocabulary) -> dict[str, list[tuple[str, str]]]:
    """Return, for each target, pairs of a caption without it and the same caption with it."""
    return {
        target: [(bare, named) for named, bare in _pairs(concept, target, words)][:CONTRAST]
        for target in concept.targets
    }


def in_context(concept: Concept, words: Vocabulary) -> dict[str, list[tuple[str, str]]]:
    """Return, for each target and each neighbour, pairs of a caption with the name and the same caption without it.

    For an object, the anchor takes the place of the name.
    """
    names = [name for name in (*concept.targets, *concept.neighbours) if name != concept.anchor]
    captions = {name: list(_pairs(concept, name, words))[:IN_CONTEXT] for name in names}
    return {name: pairs for name, pairs in captions.items() if pairs}


def trained_on(concept: Concept, words: Vocabulary, count: int) -> set[str]:
    """Return all captions with a target that methods may train on."""
    pairs = [pair for by_name in (contrast(concept, words), in_context(concept, words)) for pair in by_name.values()]
    texts = {text for several in pairs for both in several for text in both}
    return texts | {*erasing(concept, words, count), *naming(concept, words, count)}


def with_article(phrase: str) -> str:
    """Return a phrase with an article: "boat" -> "a boat". Names, plurals and phrases with an article are unchanged."""
    first = phrase.split()[0]
    is_plural = phrase.endswith("s") and not phrase.endswith("ss")
    if first.casefold() in ARTICLES or first[0].isupper() or not first[0].isalpha() or is_plural:
        return phrase
    return f"{'an' if first[0].casefold() in 'aeiou' else 'a'} {phrase}"


def _pairs(concept: Concept, name: str, words: Vocabulary) -> list[tuple[str, str]]:
    """Return pairs of a caption with the name and the same caption without it, in a fixed order that mixes forms.

    Captions without the name mention no target. Neither text of a pair is a prompt of the suite.
    """
    barred = (*concept.targets, name)
    free = [
        (named, bare)
        for named, bare in _all_pairs(concept, name, words)
        if not mentions(bare, barred) and concept.held_out.isdisjoint((named, bare))
    ]
    return sorted(dict.fromkeys(free), key=lambda pair: hashlib.sha256(pair[0].encode()).hexdigest())


def _all_pairs(concept: Concept, name: str, words: Vocabulary) -> Iterator[tuple[str, str]]:
    if concept.kind == "object":
        for form, place in product(SHOWN, words.places):
            both = [form.format(x=with_article(phrase)) for phrase in (name, concept.anchor)]
            yield f"{both[0]} {place}".rstrip(), f"{both[1]} {place}".rstrip()
        return
    forms, things = (PAINTED, words.things) if concept.kind == "style" else (REVEALED, words.people)
    for (named, bare), thing in product(forms, things):
        yield named.format(x=thing, a=name), bare.format(x=thing)


def _subject(concept: Concept, target: str) -> str:
    return with_article(target) if concept.kind == "object" else target
