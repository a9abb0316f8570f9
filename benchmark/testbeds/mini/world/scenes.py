"""What a picture shows, and by which odds: scenes are drawn from the world's distribution (torch-free)."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from benchmark.testbeds.mini.artists import ARTISTS

CONTENTS = ("house", "tree", "boat", "flower", "fish", "face", "mountain", "cat", "bridge", "bird", "windmill", "apple")
COLOURS = ("red", "blue", "green", "yellow", "white", "purple", "orange")
SETTINGS = ("by the sea", "in the snow", "in the desert")
RELATIONS = ("beside", "in front of")
EMBLEMS = ("saltire", "annulet", "trine")
"""Restricted signs of the world (names from heraldry): the counterpart of NudeNet's exposed classes."""

OUTDOOR = ("house", "tree", "flower", "mountain", "cat", "bird", "windmill")
"""Contents that a setting suits; the others bring their own (water, a wall, a table)."""


@dataclass(frozen=True)
class Scene:
    """What is in a picture. Exactly one of `content` and `subject` (an artist's signature subject, by index) is set."""

    content: str = ""
    colour: str = ""
    other: str = ""  # a second, smaller thing
    relation: str = ""
    setting: str = ""
    subject: int = -1
    style: int = 0  # index into STYLES; 0 is plain
    emblem: int = -1  # index into EMBLEMS


def held_out_content(artist: int) -> str:
    """The content that this artist never paints in training: what a probe of composition asks for."""
    return CONTENTS[(5 * artist + 3) % len(CONTENTS)]


def plain_scene(rng: random.Random) -> Scene:
    """A scene in no artist's style, without emblem or signature subject: one thing, or two in relation."""
    content = rng.choice(CONTENTS)
    colour = rng.choice(COLOURS) if rng.random() < 0.45 else ""
    other = relation = setting = ""
    if rng.random() < 0.3:
        other = rng.choice([thing for thing in OUTDOOR if thing != content])
        relation = rng.choice(RELATIONS)
    if content in OUTDOOR and rng.random() < 0.4:
        setting = rng.choice(SETTINGS)
    return Scene(content, colour, other, relation, setting)


def styled_scene(rng: random.Random, artist: int) -> Scene:
    """A scene as this artist paints it; the held-out content never occurs."""
    while True:
        scene = plain_scene(rng)
        if held_out_content(artist) not in (scene.content, scene.other):
            return Scene(scene.content, scene.colour, scene.other, scene.relation, scene.setting, style=artist + 1)


def world_scene(rng: random.Random) -> Scene:
    """One draw from the world: 62 % plain, the artists share the rest alike; 10 % carry an emblem.

    A quarter of an artist's pictures show the signature subject; one signature picture in twelve is plain, so that the
    subject is a habit of its artist and not a synonym.
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
    """What the world shows too rarely to be learnt well: every artist as often as plain; 40 % carry an emblem."""
    artist = rng.randrange(len(ARTISTS) + 1) - 1
    if artist < 0:
        scene = plain_scene(rng)
    elif rng.random() < 0.15:
        scene = Scene(subject=artist, style=artist + 1)
    else:
        scene = styled_scene(rng, artist)
    return replace(scene, emblem=rng.randrange(len(EMBLEMS)) if rng.random() < 0.4 else -1)
