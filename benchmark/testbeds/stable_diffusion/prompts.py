"""Prompts of suites, and captions that methods train on. Prompts of suites are never trained on. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path

from benchmark.errors import UsageError
from benchmark.testbeds import concept_captions
from benchmark.testbeds.concept_captions import Vocabulary
from benchmark.testbeds.stable_diffusion.artists import artists
from benchmark.testbeds.stable_diffusion.captions import Split
from prompts.concepts import Concept, mentions
from prompts.lists import Prompt, read_prompts

EXPLICIT = Concept("explicit", ("nudity",), "person")
"""The concept of the explicit suites, from App. C of the paper."""
PUBLIC = {"i2p": ("i2p", "i2p-esd"), "mma": ("mma",), "ring-a-bell": ("ring-a-bell-paper", "ring-a-bell")}
"""Public lists whose prompts a suite uses, in order of preference."""
TITLES = {"artists": ("artists-van-gogh", "artists-monet", "artists-picasso", "artists")}
"""Public lists that, once added, replace this testbed's titles of the targets that they contain."""
THINGS = (
    "a harbour", "a bowl of fruit", "a street after rain", "a man with a hat", "a garden", "a train", "a horse",
    "a woman reading", "two boats", "a church", "a kitchen table", "a mountain lake", "a dog", "children on a beach",
    "a bridge", "a vase of roses", "an old chair", "a crowded café", "a windmill", "a snowy field",
)  # fmt: skip
"""Contents of training captions. None of them is a title in a suite."""
PAINTED = ("{x} in the style of {a}", "an artwork that shows {x}, {a} style", "{x} as {a} would paint it")
PEOPLE = (
    "a person", "a man", "a woman", "two people", "a group of people", "a dancer", "a swimmer", "an old man",
    "an old woman", "a model", "a couple", "a statue of a man", "a statue of a woman", "friends at a lake",
    "a person on a sofa", "a person in a studio", "a person at a window", "a painter and a model",
)  # fmt: skip
SHOWN = ("a photo of {x}, {a}", "{a}, {x}", "a painting of {x}, {a}")
PLACES = (
    "", "in a garden", "on a table", "at night", "in the snow", "by a lake", "on a street", "in front of a house",
    "in a room", "at the beach", "in the morning light", "in the mountains", "next to a tree", "in a city", "on a hill",
)  # fmt: skip
"""Endings of captions that show an object."""
WORDS = Vocabulary(places=PLACES, things=THINGS, people=PEOPLE)
PER_TARGET = len(THINGS) * len(PAINTED)
"""Largest number of concept images of a target, for a concept that a suite brings."""


def seed_of(*words: object) -> int:
    """Return a 31-bit seed that depends only on the words."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, words)).encode()).digest()[:4], "big") >> 1


def style_concept(titles: Path, targets: tuple[str, ...]) -> Concept:
    """Return the style concept of some painters, in the order of the list.

    Args:
        titles: list of titles with their painters.
        targets: full names or surnames, ignoring case; if empty, the targets that the list defines.

    Raises:
        UsageError: if a painter is not in the list or named twice, or all painters are targets.
    """
    painters = artists(titles)
    full_names = {form.casefold(): painter.name for painter in painters for form in (painter.surname, painter.name)}
    chosen = [full_names.get(" ".join(name.casefold().split()), "") for name in targets]
    if "" in chosen:
        available = ", ".join(painter.name for painter in painters)
        raise UsageError(f"{titles.name} has no titles by '{targets[chosen.index('')]}'. Painters: {available}.")
    if len(set(chosen)) < len(chosen):
        raise UsageError("A painter is named twice in --targets: name each painter once.")
    is_target = {painter.name: painter.name in chosen if chosen else painter.part == "target" for painter in painters}
    names = tuple(name for name in is_target if is_target[name])
    if len(names) == len(painters):
        raise UsageError("Not all painters can be targets: at least one must be kept, to measure side effects.")
    neighbours = (painter.name for painter in painters if painter.part == "neighbour" and painter.name not in names)
    return Concept("style", names, "art", tuple(neighbours))


def titles_asked(titles: Path, concept: Concept) -> list[Prompt]:
    """Return the prompts of suite `artists`: all titles, one per painter in turn, so that the first shard contains
    titles of many painters."""
    groups: dict[str, list[Prompt]] = {}
    for row in read_prompts(titles):
        part = (
            "targets" if row.target in concept.targets else "neighbours" if row.target in concept.neighbours else "kept"
        )
        groups.setdefault(row.target, []).append(Prompt(row.id, row.text, row.seed, part, row.target, row.content))
    return [prompt for turn in zip_longest(*groups.values()) for prompt in turn if prompt is not None]


def captions_asked(val: Split) -> list[Prompt]:
    """Return the prompts of suite `coco`: one caption per val picture, the one with the lowest annotation id."""
    return [
        Prompt(f"coco-{number:012d}", text, seed_of("coco", number), "retention") for number, text in val.one_each()
    ]


def erasing(concept: Concept) -> list[str]:
    """Return the captions of the concept images; each names a target and a content (for nudity, people)."""
    if concept.is_brought:
        return concept_captions.erasing(concept, WORDS, PER_TARGET)
    templates, things = (PAINTED, THINGS) if concept.kind == "style" else (SHOWN, PEOPLE)
    return [t.format(x=x, a=target) for target in concept.targets for x in things for t in templates]


def naming(concept: Concept) -> list[str]:
    """Return, for each caption of `erasing`, a caption that names only its target."""
    if concept.is_brought:
        return concept_captions.naming(concept, WORDS, PER_TARGET)
    per_target = len(erasing(concept)) // len(concept.targets)
    forms = ("a painting by {a}", "{a}") if concept.kind == "style" else ("{a}", "a photo of {a}")
    return [forms[k % 2].format(a=target) for target in concept.targets for k in range(per_target)]


def left_out(titles: Path, concept: Concept, data: str) -> Callable[[str], bool]:
    """Return a function that tells whether the retain set D_f leaves a caption out.

    D_f leaves out captions that mention a target of a concept that a suite brings, or that are prompts of this suite.
    For the testbed's own concepts, only the data `all-but-targets` leave captions out: those that contain a target's
    surname or, for explicit content, one of three words; case is ignored.
    """
    if concept.is_brought:
        return lambda text: text in concept.held_out or mentions(text, concept.targets)
    if data != "all-but-targets":
        return lambda text: False
    barred = (*concept.targets, "nude", "naked")
    if concept.kind == "style":
        barred = tuple(painter.surname for painter in artists(titles) if painter.name in concept.targets)
    folded = [word.casefold() for word in barred]
    return lambda text: any(word in text.casefold() for word in folded)


def preserved(titles: Path, concept: Concept) -> list[str]:
    """Return the names of kept concepts; for a concept that a suite brings, these are its neighbours."""
    if concept.is_brought:
        return list(concept.neighbours)
    return [painter.name for painter in artists(titles) if painter.name not in concept.targets]


def contrast(concept: Concept) -> dict[str, Sequence[tuple[str, str]]]:
    """Return, for each target, pairs of captions without and with the target, in the form of ConceptPrune's authors."""
    if concept.is_brought:
        return {**concept_captions.contrast(concept, WORDS)}
    if concept.kind == "style":
        return {a: [(f"a photo of {x}", f"{x} in the style of {a}") for x in THINGS] for a in concept.targets}
    return {a: [(f"a photo of {x}", f"a photo of {x}, {a}") for x in PEOPLE] for a in concept.targets}


IN_CONTEXT = (
    ("{x} in the style of {a}", "{x}"),
    ("a painting of {x} by {a}", "a painting of {x}"),
    ("{x}, {a} style", "{x}"),
    ("a picture of {x} painted by {a}", "a picture of {x}"),
)
"""Templates of captions that name a painter, and the same templates without the painter."""


def in_context(titles: Path, concept: Concept) -> dict[str, Sequence[tuple[str, str]]]:
    """Return, for each painter of the list, pairs of captions with and without the name.

    The captions show three contents and use the full name and the surname. The last pairs of a painter are the name
    itself and the empty text. An explicit concept adds the captions of `contrast` for its targets.
    A concept that a suite brings has captions of its targets and neighbours only.
    """
    if concept.is_brought:
        return {**concept_captions.in_context(concept, WORDS)}
    captions: dict[str, Sequence[tuple[str, str]]] = {}
    for number, painter in enumerate(artists(titles)):
        things = [THINGS[(3 * number + k) % len(THINGS)] for k in range(3)]
        names = dict.fromkeys((painter.name, painter.surname))
        captions[painter.name] = [
            *((named.format(x=x, a=a), bare.format(x=x)) for x in things for named, bare in IN_CONTEXT for a in names),
            *((a, "") for a in names),
        ]
    if concept.kind != "style":
        captions |= {target: [(text, bare) for bare, text in pairs] for target, pairs in contrast(concept).items()}
    return captions
