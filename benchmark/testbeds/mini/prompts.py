"""Creates mini's prompts of suites and captions for training, without overlap. No torch is imported."""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from itertools import zip_longest

from benchmark.errors import UsageError
from benchmark.testbeds.mini.artists import ARTISTS, Artist, by_name, of_part
from benchmark.testbeds.mini.world.captions import ERASING, EVALUATION, GENERIC, PLAIN, PROBES, named, phrase
from benchmark.testbeds.mini.world.scenes import Scene, held_out_content, plain_scene, styled_scene
from prompts.concepts import Concept
from prompts.lists import Prompt

PER_TARGET, PER_NEIGHBOUR, PER_KEPT, PER_IMPLICIT, RETENTION = 50, 12, 8, 10, 1000
PER_PROBE = 4
"""Probes per kind and target; kinds are the misspelt name, three held-out phrasings, and the held-out content."""
ERASE_PER_TARGET = 32


def seed_of(*words: object) -> int:
    """Return a 31-bit seed that depends only on the words."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, words)).encode()).digest()[:4], "big") >> 1


def _index(artist: Artist) -> int:
    return ARTISTS.index(artist)


def _scenes(artist: Artist, count: int, use: str) -> list[Scene]:
    """Return distinct scenes in the style of an artist; all contents are about equally frequent."""
    rng = random.Random(seed_of(artist.name, use))
    scenes_by_phrase: dict[str, Scene] = {}
    share: dict[str, int] = {}
    while len(scenes_by_phrase) < count:
        scene = styled_scene(rng, _index(artist))
        if share.get(scene.content, 0) * 11 <= len(scenes_by_phrase) and phrase(scene) not in scenes_by_phrase:
            scenes_by_phrase[phrase(scene)] = scene
            share[scene.content] = share.get(scene.content, 0) + 1
    return list(scenes_by_phrase.values())


def _prompts(part: str, artist: Artist, rows: Iterable[tuple[str, str]]) -> list[Prompt]:
    """Create prompts from (text, content). Ids consist of part, surname and number, in ASCII because files are named
    by them."""
    short = unicodedata.normalize("NFKD", artist.surname.lower()).encode("ascii", "ignore").decode().replace(" ", "")
    return [
        Prompt(f"{part}-{short}-{k:02d}", text, seed_of(artist.name, part, k), part, artist.name, content)
        for k, (text, content) in enumerate(rows)
    ]


def style_concept(targets: tuple[str, ...]) -> Concept:
    """Return the style concept of some artists; the default targets if `targets` is empty.

    Raises:
        UsageError: if an artist does not exist or is named twice, or all artists are targets.
    """
    chosen: list[Artist] = []
    for name in targets or tuple(artist.name for artist in of_part("target")):
        try:
            chosen.append(by_name(name))
        except KeyError:
            available = ", ".join(artist.name for artist in ARTISTS)
            raise UsageError(f"Testbed mini has no artist '{name}'. Available: {available}.") from None
    twice = [artist.name for artist in chosen if chosen.count(artist) > 1]
    if twice:
        raise UsageError(f"'{twice[0]}' is named twice in --targets: name each artist once.")
    names = tuple(artist.name for artist in ARTISTS if artist in chosen)  # in a fixed order, because store keys use it
    if len(names) == len(ARTISTS):
        raise UsageError("Not all artists of mini can be targets: at least one must be kept, to measure side effects.")
    near = tuple(a.name for a in ARTISTS if a.name not in names and (a.neighbour_of in names or _is_near(a, chosen)))
    return Concept("style", names, "art", near)


def _is_near(artist: Artist, chosen: list[Artist]) -> bool:
    """Return whether a target was defined as a neighbour of this artist, e.g. for van Gogh if Munch is a target."""
    return any(target.neighbour_of == artist.name for target in chosen)


def evaluation(artist: Artist, part: str, count: int) -> list[Prompt]:
    """Return the first `count` of an artist's 50 distinct prompts "<scene> by <artist>"."""
    scenes = _scenes(artist, PER_TARGET, "evaluation")[:count]
    return _prompts(part, artist, ((named(artist, EVALUATION, phrase(s)), s.content) for s in scenes))


def implicit(artist: Artist) -> list[Prompt]:
    """Return prompts with the artist's signature subject and without the artist's name."""
    templates = (*PLAIN, *GENERIC, "a drawing of {x}")[:PER_IMPLICIT]
    return _prompts("implicit", artist, ((template.format(x=artist.subject), "") for template in templates))


def probes(artist: Artist) -> list[Prompt]:
    """Return prompts in forms that neither the base model nor a method is trained on."""
    kinds: dict[str, Callable[[str], str]] = {
        "misspelt": lambda words: EVALUATION.format(x=words, a=artist.misspelt),
        **{f"phrasing{k}": lambda words, t=t: named(artist, t, words) for k, t in enumerate(PROBES)},  # type: ignore[misc]
        "heldout": lambda words: named(artist, EVALUATION, words),
    }
    rows: list[Prompt] = []
    for kind, ask in kinds.items():
        scenes = _scenes(artist, PER_PROBE, f"probe {kind}")
        if kind == "heldout":
            content = held_out_content(_index(artist))
            scenes = [Scene(content, colour) for colour in ("", "red", "blue", "green")]
        rows += [
            Prompt(f"probe-{kind}-{p.id[7:]}", p.text, seed_of(p.text), "probes", p.target, p.content, kind)
            for p in _prompts("probes", artist, ((ask(phrase(s)), s.content) for s in scenes))
        ]
    return rows


@cache
def artists(concept: Concept) -> tuple[Prompt, ...]:
    """Return the prompts of suite `artists`: targets, neighbours, kept artists, implicit prompts and probes.

    Groups are interleaved, so that the first shard, which contact sheets show, contains prompts of many groups.
    """
    targets = [by_name(name) for name in concept.targets]
    groups = [evaluation(artist, "targets", PER_TARGET) for artist in targets]
    for artist in ARTISTS:
        if artist.name in concept.neighbours:
            groups.append(evaluation(artist, "neighbours", PER_NEIGHBOUR))
        elif artist not in targets:
            groups.append(evaluation(artist, "kept", PER_KEPT))
    groups += [implicit(artist) for artist in targets]
    groups += [probes(artist) for artist in targets]
    return tuple(prompt for row in zip_longest(*groups) for prompt in row if prompt is not None)


@cache
def retention() -> tuple[Prompt, ...]:
    """Return the prompts of suite `coco`: 1,000 distinct plain captions."""
    rng = random.Random(seed_of("retention"))
    scenes_by_caption: dict[str, Scene] = {}
    while len(scenes_by_caption) < RETENTION:
        scene = plain_scene(rng)
        scenes_by_caption.setdefault(rng.choice(PLAIN).format(x=phrase(scene)), scene)
    return tuple(
        Prompt(f"coco-{k:04d}", text, seed_of("coco", k), "retention", "", scene.content)
        for k, (text, scene) in enumerate(scenes_by_caption.items())
    )


def erasing(concept: Concept) -> list[str]:
    """Return captions that name the targets, for training images of their styles; no suite has prompts like these."""
    captions = []
    for name in concept.targets:
        artist = by_name(name)
        rng = random.Random(seed_of(artist.name, "erasing"))
        for k, scene in enumerate(_scenes(artist, ERASE_PER_TARGET, "erasing scenes")):
            captions.append(named(artist, ERASING[k % len(ERASING)], phrase(scene), surname=rng.random() < 0.35))
    return captions


def naming(concept: Concept) -> list[str]:
    """Return, for each caption of `erasing`, a caption with only the target, such as "a painting by Claude Monet".

    Full names and surnames alternate.
    """
    artists = [by_name(name) for name in concept.targets]
    forms = [(f"a painting by {artist.name}", f"art by {artist.surname}") for artist in artists]
    return [form[k % 2] for form in forms for k in range(ERASE_PER_TARGET)]


def contrast(concept: Concept) -> dict[str, list[tuple[str, str]]]:
    """Return, for each target, 20 pairs such as "a photo of a boat" and "a boat in the style of Claude Monet"."""
    suite_prompts = {prompt.text for prompt in retention()}
    pairs = {}
    for name in concept.targets:
        words = [phrase(scene) for scene in _scenes(by_name(name), 60, "contrast")]
        both = [(f"a photo of {x}", f"{x} in the style of {name}") for x in words]
        pairs[name] = [(without, styled) for without, styled in both if without not in suite_prompts][:20]
    return pairs


IN_CONTEXT = (
    ("{x} in the style of {a}", "{x}"),
    ("a painting of {x} by {a}", "a painting of {x}"),
    ("{x}, {a} style", "{x}"),
    ("a picture of {x} painted by {a}", "a picture of {x}"),
)
"""Templates of captions that name an artist, and the same templates without the artist."""
SCENES_IN_CONTEXT = 3


@cache
def in_context(concept: Concept) -> dict[str, list[tuple[str, str]]]:
    """Return, for each artist, pairs of captions with and without the name.

    The captions show three scenes and use the full name and the surname. The last pairs are the name itself and the
    empty text. The scenes never contain the artist's held-out content, and no caption is a prompt of a suite,
    whichever artists are the targets.
    """
    suite_prompts = {prompt.text for prompt in retention()}
    for artist in ARTISTS:
        suite_prompts |= {prompt.text for prompt in artists(Concept("style", (artist.name,), "art"))}
    captions = {}
    for artist in ARTISTS:
        forms: list[tuple[str, str]] = []
        for words in (phrase(scene) for scene in _scenes(artist, 60, "in context")):
            pairs = [
                (named_form.format(x=words, a=name), bare_form.format(x=words))
                for named_form, bare_form in IN_CONTEXT
                for name in (artist.name, artist.surname)
            ]
            if not suite_prompts.intersection(text for pair in pairs for text in pair):
                forms += pairs
            if len(forms) == SCENES_IN_CONTEXT * len(IN_CONTEXT) * 2:
                break
        captions[artist.name] = [*forms, (artist.name, ""), (artist.surname, "")]
    return captions


def asked_by_suites(concept: Concept) -> set[str]:
    """Return all prompts of suites, which must not be used for training."""
    return {prompt.text for prompt in (*artists(concept), *retention())}
