"""A contact sheet: the same prompts and seeds side by side, one row a model, for a person to look at."""

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
    """Draw the grid.

    `rows`: label of a model -> its images, one a caption, each uint8 (H, W, 3), all of one size. `captions`: one a
    column, wrapped to the column's width. `scale` enlarges (2 or 3 suits 64-pixel images). `blurred` keeps colours
    and hides content: for images that should not be seen unasked.
    Raises DataError if an image is missing, of another size or not uint8 RGB.
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
            # Captions stand on the pictures: short ones are pushed down.
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
    """Save as PNG, whole or not at all; returns `path`. Raises StoreError."""
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    durable.write_bytes(path, buffer.getvalue())
    return path


def _check(rows: Mapping[str, Sequence[np.ndarray]], captions: Sequence[str]) -> tuple[int, int]:
    """The common (height, width) of all images; DataError with the row's name if there is none."""
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
                    f"Contact sheet row '{label}' holds an image of shape {pixels.shape} and type {pixels.dtype}; "
                    f"all must be uint8 (H, W, 3) of one size."
                )
    return size[0], size[1]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans as matplotlib ships it (é, ó, í and Greek are in it), without importing matplotlib."""
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
    """`text`, cut with an ellipsis where it would run over `width` pixels."""
    if _width(text, font) <= width:
        return text
    while text and _width(text + "…", font) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _wrap(text: str, font: _Font, width: int) -> list[str]:
    """Greedy lines of at most `width` pixels; a single word wider than that is shortened."""
    lines: list[str] = []
    for word in text.split():
        if lines and _width(f"{lines[-1]} {word}", font) <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(_shorten(word, font, width))
    return lines or [""]
