"""Draws contact sheets: images of several models for the same prompts and seeds, one row per model."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmark.errors import DataError
from benchmark.store import durable

Filter = Literal["lanczos", "nearest"]
_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}
_PAPER, _INK, _FAINT = (255, 255, 255), (28, 28, 30), (120, 120, 128)
_GAP, _MARGIN, _FONT_SIZE = 6, 16, 13


def contact_sheet(
    rows: Mapping[str, Sequence[np.ndarray]],
    captions: Sequence[str],
    *,
    title: str = "",
    scale: int = 2,
    resample: Filter = "lanczos",
    blurred: bool = False,
) -> Image.Image:
    """Draw a grid of images, one row per model and one column per caption.

    Args:
        rows: label of a model -> its images, one per caption, each uint8 (H, W, 3) of the same size.
        captions: one per column, wrapped to the column's width.
        title: text above the grid.
        scale: factor by which images are enlarged; 2 or 3 suits images of 64 pixels.
        resample: filter for enlarging.
        blurred: whether to blur images so that colours remain but contents cannot be recognised.

    Raises:
        DataError: if an image is missing, has a different size or is not uint8 RGB.
    """
    height, width = _check(rows, captions)
    cell_w, cell_h = width * scale, height * scale
    font, bold = _font(_FONT_SIZE), _font(_FONT_SIZE + 3)
    wrapped = [_wrap(caption, font, cell_w) for caption in captions]
    line = _line_height(font)
    left = _MARGIN + max(_width(label, font) for label in rows) + 2 * _GAP
    top = _MARGIN + (_line_height(bold) + _GAP if title else 0)
    grid = top + line * max(len(lines) for lines in wrapped) + _GAP
    sheet_w = left + len(captions) * (cell_w + _GAP) - _GAP + _MARGIN
    sheet = Image.new("RGB", (sheet_w, grid + len(rows) * (cell_h + _GAP) - _GAP + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_MARGIN, _MARGIN), _shorten(title, bold, sheet_w - 2 * _MARGIN), _INK, bold)
    for column, lines in enumerate(wrapped):
        for number, text in enumerate(lines):
            # Captions are aligned at the bottom, directly above the images.
            y = grid - _GAP - line * (len(lines) - number)
            draw.text((left + column * (cell_w + _GAP), y), text, _FAINT, font)
    for row, (label, images) in enumerate(rows.items()):
        y = grid + row * (cell_h + _GAP)
        draw.text((_MARGIN, y + cell_h // 2), label, _INK, font, anchor="lm")
        for column, pixels in enumerate(images):
            picture = Image.fromarray(pixels)
            if blurred:
                picture = picture.filter(ImageFilter.GaussianBlur(max(height, width) / 8))
            picture = picture.resize((cell_w, cell_h), _FILTERS[resample])
            sheet.paste(picture, (left + column * (cell_w + _GAP), y))
    return sheet


def write_contact_sheet(path: Path, sheet: Image.Image) -> Path:
    """Save a contact sheet as PNG, atomically, and return `path`.

    Raises:
        StoreError: if the file cannot be written.
    """
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    durable.write_bytes(path, buffer.getvalue())
    return path


def _check(rows: Mapping[str, Sequence[np.ndarray]], captions: Sequence[str]) -> tuple[int, int]:
    """Return the common (height, width) of all images; raise DataError, naming the row, if they differ."""
    if not rows or not captions:
        raise DataError("A contact sheet needs at least one row and one caption.")
    size: tuple[int, ...] = ()
    for label, images in rows.items():
        if len(images) != len(captions):
            raise DataError(f"Contact sheet row '{label}' has {len(images)} images for {len(captions)} captions.")
        for pixels in images:
            size = size or pixels.shape
            if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.shape != size:
                raise DataError(
                    f"Contact sheet row '{label}' has an image of shape {pixels.shape} and type {pixels.dtype}; "
                    f"all must be uint8 (H, W, 3) of the same size."
                )
    return size[0], size[1]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load DejaVu Sans from matplotlib's files, without importing matplotlib; it has accented and Greek letters."""
    spec = find_spec("matplotlib")
    path = Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf" if spec and spec.origin else None
    if path and path.is_file():
        return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _width(text: str, font: _Font) -> int:
    return int(np.ceil(font.getlength(text)))


def _line_height(font: _Font) -> int:
    return int(np.ceil(font.getbbox("Ág")[3])) + 3


def _shorten(text: str, font: _Font, width: int) -> str:
    """Shorten a text to `width` pixels, with an ellipsis at its end."""
    if _width(text, font) <= width:
        return text
    while text and _width(text + "…", font) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _wrap(text: str, font: _Font, width: int) -> list[str]:
    """Break a text into lines of at most `width` pixels; a single wider word is shortened."""
    lines: list[str] = []
    for word in text.split():
        if lines and _width(f"{lines[-1]} {word}", font) <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(_shorten(word, font, width))
    return lines or [""]
