"""Picture files as 8-bit RGB, whatever form people have them in; no torch. Each form is read in one way:

    grey, palette, black and white     RGB of the same look
    16 bits a channel, 12 bits grey    the highest 8 bits: 0 to 65,535 (or to 4,095) becomes 0 to 255
    grey whose 0 is white (TIFF)       turned round, whatever its bits
    floating point (TIFF)              0 to 1 becomes 0 to 255; a picture with other values is refused
    32-bit integers, CIELAB            refused, as their range or colours are not said
    alpha, or a transparent colour     laid on white; a transparent colour in RGB of 16 bits is refused
    CMYK                               by Pillow's plain formula; colour profiles are not applied, in no form
    turned by EXIF                     turned as EXIF says; EXIF that cannot be read turns nothing
    animated, or of several pages      the first frame

Pictures that are cut, empty or no pictures at all are refused.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Mapping, Sequence
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
"""What each orientation of EXIF asks for."""
STRETCHED = {"L;2": 85, "L;4": 17}
"""By what Pillow multiplies PNG's greys of 2 and 4 bits; it does not multiply the one that is transparent."""


def read_rgb(file: Path) -> Image.Image:
    """The picture as it is meant to be seen, 8-bit RGB. DataError for a file that holds no whole picture."""
    try:
        # From its bytes: Pillow maps an uncompressed TIFF into memory by a wrong width where it lies on its side.
        with Image.open(io.BytesIO(file.read_bytes())) as opened:
            return _rgb(opened)
    except UnidentifiedImageError as error:  # whose message names the buffer
        raise DataError(
            f"The picture {file} cannot be read (it is of no form that Pillow knows): unpack it again."
        ) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"The picture {file} cannot be read ({error}): unpack it again.") from error


def check(file: Path, data: bytes) -> None:
    """DataError unless `data`, the bytes of `file`, is a picture that `read_rgb` reads. JPEG is decoded in small."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.draft("RGB", (opened.width // 8, opened.height // 8))
            _rgb(opened)
    except UnidentifiedImageError as error:  # whose message names the buffer
        raise DataError("it is of no form that Pillow knows") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(str(error)) from error


def checksums(
    home: Path, files: Sequence[Path], what: str, progress: Progress | None = None, keep: bool = True
) -> list[str]:
    """sha256 of each picture. Pictures that are new, or changed in size or time, are decoded once.

    DataError, naming the first, for pictures that are missing, empty, cut or of a form that is refused.
    """
    inspected = contents.look(home, files, check, f"look at {what} pictures", progress, keep)
    refuse(inspected.broken, len(files), what)
    return [inspected.sums[file] for file in files]


def refuse(broken: Mapping[Path, str], count: int, what: str) -> None:
    """DataError where there are broken pictures, naming the first; `count` is how many were looked at."""
    if broken:
        first, why = next(iter(sorted(broken.items())))
        raise DataError(
            f"{len(broken)} of the {count} {what} pictures cannot be read, the first is {first} ({why}): unpack "
            "them again, or take them out of the annotations."
        )


def digest(files: Sequence[Path], sums: Sequence[str]) -> str:
    """One checksum of pictures in their order: their names, which choose crops, and what is in them."""
    lines = "\n".join(f"{file.name}|{checksum}" for file, checksum in zip(files, sums, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()[:20]


def _rgb(opened: Image.Image) -> Image.Image:
    stored_as = opened.tile[0].args if isinstance(opened, PngImageFile) and opened.tile else ""
    opened.load()
    if "transparency" in opened.info and stored_as == "RGB;16B":  # its colour has 16 bits, what was read of it 8
        raise ValueError("a transparent colour in RGB of 16 bits, save it with an alpha channel or 8 bits")
    if "transparency" in opened.info and stored_as in STRETCHED:
        opened.info["transparency"] *= STRETCHED[stored_as]
    picture = _eight_bits(opened)
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        picture = Image.new("RGBA", seen.size, "white")
        picture.alpha_composite(seen)
    picture = picture.convert("RGB")
    turn = TURNS.get(_orientation(opened))
    return picture if turn is None else picture.transpose(turn)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """A picture of more bits as one of 8 bits a channel; ValueError for one whose range is not said."""
    tags = picture.tag_v2 if isinstance(picture, TiffImageFile) else {}
    # Pillow turns 8 bits and fewer round itself.
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


def _orientation(picture: Image.Image) -> int:
    """EXIF's number of how the picture is to be turned; 1, as it lies, where there is none that can be read."""
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, struct.error):
        return 1
