"""Prompts of suites and captions that erasing trains on; torch-free. Suites' prompts are never trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from benchmark.errors import UsageError
from benchmark.testbeds.stable_diffusion.artists import artists
from benchmark.testbeds.stable_diffusion.captions import Split
from prompts.concepts import Concept
from prompts.lists import Prompt, read_prompts

EXPLICIT = Concept("explicit", ("nudity",), "person")
"""As the paper has it (App. C)."""
PUBLIC = {"i2p": ("i2p", "i2p-esd"), "mma": ("mma",), "ring-a-bell": ("ring-a-bell-paper", "ring-a-bell")}
"""Public lists that a suite asks, best first."""
TITLES = {"artists": ("artists-van-gogh", "artists-monet", "artists-picasso", "artists")}
"""Public lists that, once added, replace the titles of the targets in them."""
THINGS = (
    "a harbour", "a bowl of fruit", "a street after rain", "a man with a hat", "a garden", "a train", "a horse",
    "a woman reading", "two boats", "a church", "a kitchen table", "a mountain lake", "a dog", "children on a beach",
    "a bridge", "a vase of roses", "an old chair", "a crowded café", "a windmill", "a snowy field",
)  # fmt: skip
"""None of them the title of a picture that a suite asks for."""
PAINTED = ("{x} in the style of {a}", "an artwork that shows {x}, {a} style", "{x} as {a} would paint it")
PEOPLE = (
    "a person", "a man", "a woman", "two people", "a group of people", "a dancer", "a swimmer", "an old man",
    "an old woman", "a model", "a couple", "a statue of a man", "a statue of a woman", "friends at a lake",
    "a person on a sofa", "a person in a studio", "a person at a window", "a painter and a model",
)  # fmt: skip
SHOWN = ("a photo of {x}, {a}", "{a}, {x}", "a painting of {x}, {a}")


def seed_of(*words: object) -> int:
    """A fixed 31-bit number that depends on the words alone."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, words)).encode()).digest()[:4], "big") >> 1


def style_concept(titles: Path, targets: tuple[str, ...]) -> Concept:
    """The concept of these painters (full names or surnames; the list's own if empty), in the list's order."""
    painters = artists(titles)
    full_names = {form.casefold(): painter.name for painter in painters for form in (painter.surname, painter.name)}
    chosen = [full_names.get(" ".join(name.casefold().split()), "") for name in targets]
    if "" in chosen:
        available = ", ".join(painter.name for painter in painters)
        raise UsageError(f"No titles by '{targets[chosen.index('')]}' are in {titles.name}. Painters: {available}.")
    if len(set(chosen)) < len(chosen):
        raise UsageError("A painter is named twice among the targets: name each once.")
    is_target = {painter.name: painter.name in chosen if chosen else painter.part == "target" for painter in painters}
    names = tuple(name for name in is_target if is_target[name])
    if len(names) == len(painters):
        raise UsageError("Not all painters can be targets: some must be kept, to see what erasing breaks.")
    neighbours = (painter.name for painter in painters if painter.part == "neighbour" and painter.name not in names)
    return Concept("style", names, "art", tuple(neighbours))


def titles_asked(titles: Path, concept: Concept) -> list[Prompt]:
    """Suite `artists`: every title, painter by painter in turn, so that the first shard is a cross-section."""
    groups: dict[str, list[Prompt]] = {}
    for row in read_prompts(titles):
        part = (
            "targets" if row.target in concept.targets else "neighbours" if row.target in concept.neighbours else "kept"
        )
        groups.setdefault(row.target, []).append(Prompt(row.id, row.text, row.seed, part, row.target, row.content))
    return [prompt for turn in zip_longest(*groups.values()) for prompt in turn if prompt is not None]


def captions_asked(val: Split) -> list[Prompt]:
    """Suite `coco`: one caption a picture, that of the lowest annotation id."""
    return [
        Prompt(f"coco-{number:012d}", text, seed_of("coco", number), "retention") for number, text in val.one_each()
    ]


def erasing(concept: Concept) -> list[str]:
    """Captions of the concept images, each with a thing (or person) and its target."""
    templates, things = (PAINTED, THINGS) if concept.kind == "style" else (SHOWN, PEOPLE)
    return [t.format(x=x, a=target) for target in concept.targets for x in things for t in templates]


def naming(concept: Concept) -> list[str]:
    """For each caption of `erasing`, one that names its target alone."""
    per_target = len(erasing(concept)) // len(concept.targets)
    forms = ("a painting by {a}", "{a}") if concept.kind == "style" else ("{a}", "a photo of {a}")
    return [forms[k % 2].format(a=target) for target in concept.targets for k in range(per_target)]


def barred(titles: Path, concept: Concept) -> tuple[str, ...]:
    """Words that no caption of the data `all-but-targets` contains."""
    if concept.kind == "style":
        return tuple(painter.surname for painter in artists(titles) if painter.name in concept.targets)
    return (*concept.targets, "nude", "naked")


def contrast(concept: Concept) -> dict[str, Sequence[tuple[str, str]]]:
    """For each target, things (or people) without it and with it, as ConceptPrune's authors ask."""
    if concept.kind == "style":
        return {a: [(f"a photo of {x}", f"{x} in the style of {a}") for x in THINGS] for a in concept.targets}
    return {a: [(f"a photo of {x}", f"a photo of {x}, {a}") for x in PEOPLE] for a in concept.targets}


IN_CONTEXT = (
    ("{x} in the style of {a}", "{x}"),
    ("a painting of {x} by {a}", "a painting of {x}"),
    ("{x}, {a} style", "{x}"),
    ("a picture of {x} painted by {a}", "a picture of {x}"),
)
"""Captions in which the name follows what is shown, and the same captions without the name."""


def in_context(titles: Path, concept: Concept) -> dict[str, Sequence[tuple[str, str]]]:
    """For each painter of the list, captions of three things by full name and by surname, and the same without it.

    For an explicit concept also the captions of `contrast`, as far as the target's phrase stands last in them.
    """
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
