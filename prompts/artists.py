"""Protocol of a testbed's artists. This module does not import torch, so that `bench list artists` is fast."""

from typing import Protocol


class Artist(Protocol):
    """An artist of a testbed: an item of `ARTISTS` in `artists.py` in the folder of the testbed's class."""

    @property
    def name(self) -> str:
        """Full name, as used in captions."""
        ...

    @property
    def surname(self) -> str:
        """Short name, which `--targets` accepts as well."""
        ...

    @property
    def part(self) -> str:
        """Role in the benchmark: "target", "neighbour", "kept", "tuning" or "reserved"."""
        ...

    @property
    def subject(self) -> str:
        """A subject that implies the style without naming the artist; empty if there is none."""
        ...

    @property
    def neighbour_of(self) -> str:
        """Name of the artist with a similar style; empty if there is none."""
        ...
