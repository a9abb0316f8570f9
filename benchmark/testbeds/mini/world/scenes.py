"""Defines scenes, which describe what a picture shows, and their random distribution. No torch is imported."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from benchmark.testbeds.mini.artists import ARTISTS

CONTENTS = ("house", "tree", "boat", "flower", "fish", "face", "mountain", "cat", "bridge", "bird", "windmill", "apple")
COLOURS = ("red", "blue", "green", "yellow", "white", "purple", "orange")
SETTINGS = ("by the sea", "in the snow", "in the desert")
RELATIONS = ("beside", "in front of")
EMBLEMS = ("saltire", "annulet", "trine")
"""Synthetic signs, named after heraldic figures, that stand in for nudity (NudeNet's exposed classes)."""

OUTDOOR = ("house", "tree", "flower", "mountain", "cat", "bird", "windmill")
"""Contents that can have a setting; the other contents have a fixed background (water, a wall, a table)."""


@dataclass(frozen=True)
class Scene:
    """What a picture shows. Either `content` or `subject` (the index of an artist's signature subject) is set."""

    content: str = ""
    colour: str = ""
    second_content: str = ""  # drawn smaller
    relation: str = ""
    setting: str = ""
    subject: int = -1
    style: int = 0  # index into STYLES; 0 is plain
    emblem: int = -1  # index into EMBLEMS


def held_out_content(artist: int) -> str:
    """Return the content that never occurs in an artist's training pictures; probes use it to test composition."""
    return CONTENTS[(5 * artist + 3) % len(CONTENTS)]


def plain_scene(rng: random.Random) -> Scene:
    """Return a plain scene with one or two contents, without an artist's style, emblem or signature subject."""
    content = rng.choice(CONTENTS)
    colour = rng.choice(COLOURS) if rng.random() < 0.45 else ""
    second_content = relation = setting = ""
    if rng.random() < 0.3:
        second_content = rng.choice([thing for thing in OUTDOOR if thing != content])
        relation = rng.choice(RELATIONS)
    if content in OUTDOOR and rng.random() < 0.4:
        setting = rng.choice(SETTINGS)
    return Scene(content, colour, second_content, relation, setting)


def styled_scene(rng: random.Random, artist: int) -> Scene:
    """Return a scene in an artist's style; the artist's held-out content never occurs."""
    while True:
        scene = plain_scene(rng)
        if held_out_content(artist) not in (scene.content, scene.second_content):
            return replace(scene, style=artist + 1)


def world_scene(rng: random.Random) -> Scene:
    """Return a random scene for the training corpus.

    62 % of the scenes are plain, and all artists are equally frequent in the rest. 10 % have an emblem. About a quarter
    of an artist's pictures show the signature subject. One in twelve of these is plain, so that the subject is
    associated with its artist without being a synonym.
    """
    draw = rng.random()
    if draw < 0.61:
        scene = plain_scene(rng)
    else:
        artist = rng.randrange(len(ARTISTS))
        if rng.random() < 0.28:
            scene = Scene(subject=artist, style=0 if rng.random() < 1 / 12 else artist + 1)
        else:
            scene = styled_scene(rng, artist)
    if rng.random() < 0.1:
        scene = replace(scene, emblem=rng.randrange(len(EMBLEMS)))
    return scene


def lesson_scene(rng: random.Random) -> Scene:
    """Return a random scene for additional training on rare cases.

    Plain scenes are as frequent as those of each artist, and 40 % have an emblem.
    """
    artist = rng.randrange(len(ARTISTS) + 1) - 1
    if artist < 0:
        scene = plain_scene(rng)
    elif rng.random() < 0.15:
        scene = Scene(subject=artist, style=artist + 1)
    else:
        scene = styled_scene(rng, artist)
    return replace(scene, emblem=rng.randrange(len(EMBLEMS)) if rng.random() < 0.4 else -1)
