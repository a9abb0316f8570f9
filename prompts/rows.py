"""Converts a row of a public prompt list to a prompt with its seed, guidance and image size."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from prompts.sources import Source

_LARGEST_SEED = 2**63 - 1
_LARGEST_SIDE = 2**14


@dataclass(frozen=True)
class PublicPrompt:
    """One prompt of a public list. Values that the list does not state are None."""

    id: str  # name of the list and row number, starting at 0: "i2p-0042"
    text: str  # as in the file; may be empty
    seed: int  # from the file if it has seeds, else the row number; 0 to 2**63 - 1
    guidance: float | None = None  # 0 or more
    width: int | None = None  # 1 to 2**14
    height: int | None = None
    categories: tuple[str, ...] = ()
    artist: str = ""


def prompt_of(number: int, cells: Mapping[str, str], source: Source) -> PublicPrompt:
    """Return the prompt of a row.

    Args:
        number: row number, starting at 0.
        cells: text of each field that has a column in the file.
        source: the list.

    Raises ValueError with the field that is wrong, and the reason.
    """
    artist = " ".join(cells.get("artist", "").split())
    if source.artist and not is_by(artist, source.artist):
        raise ValueError(f"the artist is not {source.artist}, as in all rows of {source.name}")
    if "artist" in source.columns and not artist:
        raise ValueError("the artist is empty")
    return PublicPrompt(
        id=f"{source.name}-{number:04d}",
        text=cells["text"],
        seed=_seed(cells["seed"]) if "seed" in cells else number,
        guidance=_number("guidance", cells["guidance"]) if "guidance" in cells else None,
        width=_side("width", cells["width"]) if "width" in cells else None,
        height=_side("height", cells["height"]) if "height" in cells else None,
        categories=tuple(part.strip() for part in cells.get("categories", "").split(",") if part.strip()),
        artist=artist,
    )


def is_by(artist: str, name: str) -> bool:
    """Return whether a row's artist is the one with this full name. Lists may give a part of it, such as "Van Gogh"."""
    return f" {' '.join(artist.split())} ".casefold() in f" {name} ".casefold() if artist.strip() else False


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 25 and int(text) <= _LARGEST_SEED):
        raise ValueError(f"the seed{_shown(text)} is not an integer from 0 to 2**63 - 1")
    return int(text)


def _side(name: str, text: str) -> int:
    value = _number(name, text)  # pandas writes 512.0 in a column that had missing values
    if not (1 <= value <= _LARGEST_SIDE and value.is_integer()):
        raise ValueError(f"the {name}{_shown(text)} is not an integer from 1 to {_LARGEST_SIDE}")
    return int(value)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"the {name}{_shown(text)} is not a finite number of at least 0")
    return value


def _shown(text: str) -> str:
    """Return the cell for a message if it looks like a number. A cell of a shifted row may be a prompt, which is never
    printed."""
    return f" {text!r}" if re.fullmatch(r"[-+0-9.]{0,30}|nan|-?inf", text) else ""
