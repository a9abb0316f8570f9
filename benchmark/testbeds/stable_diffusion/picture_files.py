"""Reads picture files of any common format as 8-bit RGB. Imports no torch. The formats are converted as follows:

    grey, palette, black and white     converted to RGB
    16 bits per channel, 12-bit grey   the highest 8 bits: 0 to 65,535 (or to 4,095) becomes 0 to 255
    grey with 0 as white (TIFF)        inverted, at any bit depth
    floating point (TIFF)              0 to 1 becomes 0 to 255; pictures with other values are refused
    32-bit integers, CIELAB            refused, because their range or colours are ambiguous
    alpha, or a transparent colour     composited on white; a transparent colour in 16-bit RGB is refused
    CMYK                               converted by Pillow's formula; colour profiles are ignored in all formats
    EXIF orientation                   applied; unreadable EXIF data is ignored
    animations, several pages          only the first frame is read

Truncated files, empty files and files that are not pictures are refused.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from benchmark.errors import DataError
from benchmark.store import contents

if TYPE_CHECKING:
    from benchmark.console import Progress

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that each EXIF orientation requires."""
STRETCHED = {"L;2": 85, "L;4": 17}
"""Factors by which Pillow scales 2-bit and 4-bit grey values of PNG files to 8 bits. Pillow does not scale the
transparent value, so this module does."""


FORMATS = (
    "PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "PCX", "SGI", "QOI",
)  # fmt: skip
"""Formats that are read, as far as Pillow was built with them. Pillow would run Ghostscript for EPS files."""


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def read_rgb(file: Path) -> Image.Image:
    """Read a picture as 8-bit RGB, in its intended orientation.

    Raises:
        DataError: if the file is not a complete picture, or of a format that is refused.
    """
    try:
        # Opened from bytes because Pillow uses a wrong width for memory-mapped uncompressed TIFFs that are rotated.
        with Image.open(io.BytesIO(file.read_bytes()), formats=_formats()) as opened:
            return _to_rgb(opened)
    except UnidentifiedImageError as error:  # its own message names only the buffer
        raise DataError(
            f"The picture {file} cannot be read (Pillow does not know its format): unpack it again."
        ) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"The picture {file} cannot be read ({error}): unpack it again.") from error


def check(file: Path, data: bytes) -> None:
    """Check that `read_rgb` can read a picture. JPEG files are decoded at an eighth of their size, which is faster.

    Args:
        file: path of the picture.
        data: its contents.

    Raises:
        DataError: if it cannot; the message gives only the reason.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as opened:
            opened.draft("RGB", (opened.width // 8, opened.height // 8))
            _to_rgb(opened)
    except UnidentifiedImageError as error:  # its own message names only the buffer
        raise DataError("Pillow does not know its format") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(str(error)) from error


def checksums(
    home: Path, files: Sequence[Path], what: str, progress: Progress | None = None, keep: bool = True
) -> list[str]:
    """Return the sha256 of each picture. Pictures that are new, or changed in size or time, are read and checked.

    Args:
        home: the runs folder, where checksums are cached.
        files: picture files.
        what: "train" or "val", for messages.
        progress: shows progress if given.
        keep: whether to write the cache.

    Raises:
        DataError: naming the first, if pictures are missing, empty, truncated or of a format that is refused.
    """
    inspected = contents.look(home, files, check, f"check {what} pictures", progress, keep)
    refuse(inspected.broken, len(files), what)
    return [inspected.sums[file] for file in files]


def refuse(broken: Mapping[Path, str], count: int, what: str) -> None:
    """Raise DataError, naming the first, if there are broken pictures. `count` is the number of checked pictures."""
    if broken:
        first, why = next(iter(sorted(broken.items())))
        raise DataError(
            f"{len(broken)} of the {count} {what} pictures cannot be read, the first is {first} ({why}): unpack "
            "them again, or remove them from the annotations."
        )


def digest(files: Sequence[Path], sums: Sequence[str]) -> str:
    """Return one checksum of pictures in order, of their contents and their names (which determine the crops)."""
    lines = "\n".join(f"{file.name}|{checksum}" for file, checksum in zip(files, sums, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()[:20]


def _to_rgb(opened: Image.Image) -> Image.Image:
    stored_as = opened.tile[0].args if isinstance(opened, PngImageFile) and opened.tile else ""
    opened.load()
    if "transparency" in opened.info and stored_as == "RGB;16B":  # Pillow reduces the pixels to 8 bits, not this colour
        raise ValueError("a transparent colour in 16-bit RGB, save it with an alpha channel or 8 bits")
    if "transparency" in opened.info and stored_as in STRETCHED:
        opened.info["transparency"] *= STRETCHED[stored_as]
    picture = _to_eight_bits(opened)
    if picture.has_transparency_data:
        foreground = picture.convert("RGBA")
        picture = Image.new("RGBA", foreground.size, "white")
        picture.alpha_composite(foreground)
    picture = picture.convert("RGB")
    turn = TURNS.get(_read_orientation(opened))
    return picture if turn is None else picture.transpose(turn)


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    """Convert a picture to 8 bits per channel; raise ValueError if its range is ambiguous."""
    tags = picture.tag_v2 if isinstance(picture, TiffImageFile) else {}
    # Pillow itself inverts pictures of up to 8 bits.
    white_is_zero = tags.get(PHOTOMETRIC_INTERPRETATION) == 0
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG"):
        bits = 12 if tuple(tags.get(BITSPERSAMPLE, ())) == (12,) else 16
        values = np.asarray(picture)
        eight = (values >> (bits - 8)).astype(np.uint8)  # as Pillow reads 16-bit RGB
        if "transparency" in picture.info:
            alpha = np.where(values == picture.info["transparency"], 0, 255).astype(np.uint8)
            return Image.fromarray(np.stack([eight, alpha], -1))
        return Image.fromarray(255 - eight if white_is_zero else eight)
    if picture.mode == "F":
        values = np.asarray(picture)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise ValueError("floating point with values outside 0 to 1, save it with 8 or 16 bits")
        eight = (values * 255).round().astype(np.uint8)
        return Image.fromarray(255 - eight if white_is_zero else eight)
    if picture.mode in ("I", "LAB"):
        raise ValueError(f"Pillow's mode {picture.mode}, save it as RGB with 8 or 16 bits")
    return picture


def _read_orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation of a picture; 1 (no change) if it cannot be read."""
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, struct.error):
        return 1
