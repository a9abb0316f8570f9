"""One row of a public list: from cells of text to a prompt with its seed, guidance and size."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from prompts.sources import Source

_LARGEST_SEED = 2**63 - 1
_LARGEST_SIDE = 2**14


@dataclass(frozen=True)
class PublicPrompt:
    """What a list says about one picture; None where it says nothing."""

    id: str  # list and number of the row, counted from 0: "i2p-0042"
    text: str  # as in the file; may be empty
    seed: int  # the file's, else the row's number; 0 to 2**63 - 1
    guidance: float | None = None  # 0 or more
    width: int | None = None  # 1 to 2**14
    height: int | None = None
    categories: tuple[str, ...] = ()
    artist: str = ""


def prompt_of(number: int, cells: Mapping[str, str], source: Source) -> PublicPrompt:
    """The prompt of row `number`, counted from 0; `cells` has a text for each field whose column there is.

    Raises ValueError saying which cell is wrong, and why.
    """
    artist = " ".join(cells.get("artist", "").split())
    if source.artist and not is_by(artist, source.artist):
        raise ValueError(f"the artist is not {source.artist}, as all through {source.name}")
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
    """Whether a row's artist is the one of this full name: lists have surnames as well, "Van Gogh" or "Rembrandt"."""
    return f" {' '.join(artist.split())} ".casefold() in f" {name} ".casefold() if artist.strip() else False


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 25 and int(text) <= _LARGEST_SEED):
        raise ValueError(f"the seed{_shown(text)} is not an integer from 0 to 2**63 - 1")
    return int(text)


def _side(name: str, text: str) -> int:
    value = _number(name, text)  # tables that once had a gap write 512.0
    if not (1 <= value <= _LARGEST_SIDE and value.is_integer()):
        raise ValueError(f"the {name}{_shown(text)} is not an integer from 1 to {_LARGEST_SIDE}")
    return int(value)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"the {name}{_shown(text)} is not a number from 0 up")
    return value


def _shown(text: str) -> str:
    """The cell if it can only be a number: where columns have slipped it is a prompt, and those are never printed."""
    return f" {text!r}" if re.fullmatch(r"[-+0-9.]{0,30}|nan|-?inf", text) else ""
