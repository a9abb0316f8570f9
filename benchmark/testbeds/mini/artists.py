"""The artists of mini's world and the part each plays in a benchmark (torch-free: `bench list artists` reads it)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Part = Literal["target", "neighbour", "tuning", "reserved"]


@dataclass(frozen=True)
class Artist:
    """One painter: how captions name them, and the subject that brings their style without the name."""

    name: str
    surname: str
    part: Part
    subject: str  # signature subject: mostly shown in this style, its captions do not name the artist
    neighbour_of: str = ""  # whose look they partly share
    misspelt: str = ""  # a held-out probe; never in training captions


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
"""Style classes of the world and of the style oracle: index 0 is a picture in no artist's style."""


def of_part(*parts: Part) -> tuple[Artist, ...]:
    """Artists that play one of these parts, in list order."""
    return tuple(artist for artist in ARTISTS if artist.part in parts)


def by_name(name: str) -> Artist:
    """The artist called so (full name or surname, any case); KeyError if the world has none."""
    wanted = name.casefold().strip()
    for artist in ARTISTS:
        if wanted in (artist.name.casefold(), artist.surname.casefold()):
            return artist
    raise KeyError(name)
