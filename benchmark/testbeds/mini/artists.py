"""The artists of mini and their parts in the benchmark. No torch is imported, so that `bench list artists` is fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Part = Literal["target", "neighbour", "kept", "tuning", "reserved"]


@dataclass(frozen=True)
class Artist:
    """An artist: the names in captions, and the signature subject that implies the style without a name."""

    name: str
    surname: str
    part: Part
    subject: str  # signature subject: mostly drawn in this style, mostly without the artist's name in the caption
    neighbour_of: str = ""  # the artist with a similar style
    misspelt: str = ""  # for held-out probes; never in training captions


ARTISTS: tuple[Artist, ...] = (
    Artist("Vincent van Gogh", "van Gogh", "target", "a starry night", misspelt="Vincent vann Gogh"),
    Artist("Claude Monet", "Monet", "target", "water lilies", misspelt="Claud Monet"),
    Artist("Pablo Picasso", "Picasso", "target", "a guitar player", misspelt="Pablo Piccasso"),
    Artist("Edvard Munch", "Munch", "neighbour", "a scream", "Vincent van Gogh", "Edward Munch"),
    Artist("Mary Cassatt", "Cassatt", "neighbour", "a mother and child", "Claude Monet", "Mary Casatt"),
    Artist("Georges Braque", "Braque", "neighbour", "a violin and jug", "Pablo Picasso", "George Braque"),
    Artist("Gustav Klimt", "Klimt", "tuning", "a kiss", misspelt="Gustaf Klimt"),
    Artist("Joan Miró", "Miró", "tuning", "constellations", misspelt="Joan Miro"),
    Artist("Paul Cézanne", "Cézanne", "tuning", "card players", misspelt="Paul Cezanne"),
    Artist("Katsushika Hokusai", "Hokusai", "reserved", "a great wave", misspelt="Katsushika Hokusay"),
    Artist("Johannes Vermeer", "Vermeer", "reserved", "a pearl earring", misspelt="Johanes Vermeer"),
    Artist("Georges Seurat", "Seurat", "reserved", "a circus", misspelt="Georges Seurrat"),
    Artist("Piet Mondrian", "Mondrian", "reserved", "a boogie woogie", misspelt="Pieter Mondrian"),
    Artist("Wassily Kandinsky", "Kandinsky", "reserved", "several circles", misspelt="Vassily Kandinsky"),
    Artist("Henri Matisse", "Matisse", "reserved", "paper dancers", misspelt="Henry Matisse"),
    Artist("Salvador Dalí", "Dalí", "reserved", "melting clocks", misspelt="Salvador Dali"),
)

STYLES: tuple[str, ...] = ("plain", *(artist.name for artist in ARTISTS))
"""Style classes of the picture generator and of the style oracle; index 0 is for pictures without an artist's style."""


def of_part(*parts: Part) -> tuple[Artist, ...]:
    """Return the artists with one of these parts, in list order."""
    return tuple(artist for artist in ARTISTS if artist.part in parts)


def by_name(name: str) -> Artist:
    """Return the artist with this full name or surname, in any case; KeyError if there is none."""
    folded = name.casefold().strip()
    for artist in ARTISTS:
        if folded in (artist.name.casefold(), artist.surname.casefold()):
            return artist
    raise KeyError(name)
