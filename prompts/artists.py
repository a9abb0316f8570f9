"""What a testbed says of each of its artists. No torch is imported, so that `bench list artists` is fast."""

from typing import Protocol


class Artist(Protocol):
    """An artist of a testbed: an item of `ARTISTS` in the `artists.py` beside the testbed's class."""

    @property
    def name(self) -> str:
        """Full name, as in captions."""
        ...

    @property
    def surname(self) -> str:
        """The short name, by which `--targets` may call the artist too."""
        ...

    @property
    def part(self) -> str:
        """The part in the benchmark: "target", "neighbour", "kept", "tuning" or "reserved"."""
        ...

    @property
    def subject(self) -> str:
        """A subject that implies the style without a name; empty if there is none."""
        ...

    @property
    def neighbour_of(self) -> str:
        """The artist with a similar style; empty if there is none."""
        ...
