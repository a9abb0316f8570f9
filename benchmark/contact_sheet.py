"""Draws contact sheets: images of several models for the same prompts and seeds, one row per model.

A sheet has one or several blocks below each other. Each block is a grid, whose columns can have headings. `arrange`
computes where everything stands, so that a sheet can be drawn as PNG (here) or as PDF (`figures/sheet_pdf.py`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmark.errors import DataError
from benchmark.store import durable

Filter = Literal["lanczos", "nearest"]
Colour = tuple[int, int, int]
_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}
PAPER: Colour = (255, 255, 255)
INK: Colour = (28, 28, 30)
_SOFT_INK: Colour = (74, 74, 82)
FORGOTTEN_COLOUR: Colour = (178, 58, 46)
"""Colour of the heading of prompts for what should be forgotten."""
KEPT_COLOUR: Colour = (42, 110, 94)
"""Colour of the heading of prompts for what should be preserved."""
_GAP, _MARGIN, _RULE = 6, 16, 2
_BETWEEN_HEADINGS = 18
"""Additional space in pixels between the columns of two headings."""
_BETWEEN_BLOCKS = 22
_CAPTION, _HEADING, _TITLE = 14, 14, 17
"""Font sizes in pixels."""
_LABEL_WIDTH = 150
"""Maximum width of a row's label in pixels; a longer label is wrapped."""


@dataclass(frozen=True)
class Heading:
    """A heading above several neighbouring columns, with a line in its colour below it."""

    text: str
    columns: int
    colour: Colour = INK


@dataclass(frozen=True)
class Block:
    """A grid of images: label of a model -> its images, one per caption, each uint8 (H, W, 3) of the same size."""

    rows: Mapping[str, Sequence[np.ndarray]]
    captions: Sequence[str]
    headings: Sequence[Heading] = ()
    """Headings of all columns, from left to right; empty for none."""


@dataclass(frozen=True)
class Text:
    """A line of text; (x, y) is its upper left corner in pixels."""

    text: str
    x: int
    y: int
    size: int
    colour: Colour
    bold: bool = False


@dataclass(frozen=True)
class Picture:
    """An image uint8 (H, W, 3) that is drawn into a rectangle; (x, y) is its upper left corner in pixels."""

    pixels: np.ndarray
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Rule:
    """A horizontal line `_RULE` pixels high; (x, y) is its upper left corner."""

    x: int
    y: int
    width: int
    colour: Colour
    height: int = _RULE


@dataclass
class Sheet:
    """Everything that is drawn on a sheet of `width` x `height` pixels."""

    width: int = 0
    height: int = 0
    texts: list[Text] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)


def contact_sheet(
    rows: Mapping[str, Sequence[np.ndarray]],
    captions: Sequence[str],
    *,
    title: str = "",
    scale: int = 2,
    resample: Filter = "lanczos",
    blurred: bool = False,
) -> Image.Image:
    """Draw a single grid of images, one row per model and one column per caption.

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
    if blurred:
        rows = {label: [blur(pixels) for pixels in images] for label, images in rows.items()}
    height, width = _check(rows, captions)
    return draw(arrange([Block(rows, captions)], (width * scale, height * scale), title), resample)


def blur(pixels: np.ndarray) -> np.ndarray:
    """Return an image uint8 (H, W, 3) whose colours remain but whose content cannot be recognised."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(max(pixels.shape[:2]) / 8)))


def arrange(blocks: Sequence[Block], cell: tuple[int, int], title: str = "") -> Sheet:
    """Place the blocks of a sheet below each other, and a title above them.

    Args:
        blocks: the blocks, from top to bottom.
        cell: width and height in pixels that each image is drawn with.
        title: text above the blocks, wrapped to the width of the sheet.

    Raises:
        DataError: if there is no block, or an image is missing, has a different size or is not uint8 RGB.
    """
    if not blocks:
        raise DataError("A contact sheet needs at least one row and one caption.")
    for block in blocks:
        _check(block.rows, block.captions)
    font = _font(_CAPTION)
    labels = {label: _wrap(label, font, _LABEL_WIDTH) for block in blocks for label in block.rows}
    left = _MARGIN + max(_width(line, font) for lines in labels.values() for line in lines) + 2 * _GAP
    columns = [_columns(block, left, cell[0]) for block in blocks]
    sheet = Sheet(max(xs[-1] for xs in columns) + cell[0] + _MARGIN)
    y = _MARGIN
    if title:
        lines = _wrap(title, _font(_TITLE, True), sheet.width - 2 * _MARGIN)
        y = _place_lines(sheet, lines, _MARGIN, y, _TITLE, INK, bold=True) + _GAP
    for number, (block, xs) in enumerate(zip(blocks, columns, strict=True)):
        y = _place_block(sheet, block, labels, xs, y + (_BETWEEN_BLOCKS if number else 0), cell)
    sheet.height = y - _GAP + _MARGIN
    return sheet


def draw(sheet: Sheet, resample: Filter = "lanczos") -> Image.Image:
    """Draw a sheet; `resample` is the filter that resizes its images."""
    image = Image.new("RGB", (sheet.width, sheet.height), PAPER)
    canvas = ImageDraw.Draw(image)
    for text in sheet.texts:
        canvas.text((text.x, text.y), text.text, text.colour, _font(text.size, text.bold))
    for rule in sheet.rules:
        canvas.rectangle((rule.x, rule.y, rule.x + rule.width - 1, rule.y + rule.height - 1), rule.colour)
    for picture in sheet.pictures:
        resized = Image.fromarray(picture.pixels).resize((picture.width, picture.height), _FILTERS[resample])
        image.paste(resized, (picture.x, picture.y))
    return image


def png_bytes(image: Image.Image) -> bytes:
    """Return an image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def write_contact_sheet(path: Path, sheet: Image.Image) -> Path:
    """Save a contact sheet as PNG, atomically, and return `path`.

    Raises:
        StoreError: if the file cannot be written.
    """
    durable.write_bytes(path, png_bytes(sheet))
    return path


def _columns(block: Block, left: int, width: int) -> list[int]:
    """Return the left edge of each column of a block."""
    starts = {sum(heading.columns for heading in block.headings[:k]) for k in range(1, len(block.headings))}
    xs = [left]
    for column in range(1, len(block.captions)):
        xs.append(xs[-1] + width + _GAP + (_BETWEEN_HEADINGS if column in starts else 0))
    return xs


def _place_block(
    sheet: Sheet, block: Block, labels: Mapping[str, list[str]], xs: Sequence[int], y: int, cell: tuple[int, int]
) -> int:
    """Place one block at the height `y`, and return the height at which the next one may begin."""
    font, line = _font(_CAPTION), _line_height(_font(_CAPTION))
    if block.headings:
        y = _place_headings(sheet, block.headings, xs, y, cell[0])
    wrapped = [_wrap(caption, font, cell[0]) for caption in block.captions]
    y += line * max(map(len, wrapped))
    for x, lines in zip(xs, wrapped, strict=True):  # captions end directly above the images
        _place_lines(sheet, lines, x, y - line * len(lines), _CAPTION, _SOFT_INK)
    y += _GAP
    for label, images in block.rows.items():
        middle = y + (cell[1] - line * len(labels[label])) // 2
        _place_lines(sheet, labels[label], _MARGIN, middle, _CAPTION, INK)
        sheet.pictures += [Picture(pixels, x, y, *cell) for x, pixels in zip(xs, images, strict=True)]
        y += cell[1] + _GAP
    return y


def _place_headings(sheet: Sheet, headings: Sequence[Heading], xs: Sequence[int], y: int, width: int) -> int:
    """Place headings, each above its columns, and return the height below them."""
    first, placed = 0, []
    for heading in headings:
        x = xs[first]
        span = xs[first + heading.columns - 1] + width - x
        placed.append((heading, x, span, _wrap(heading.text, _font(_HEADING, True), span)))
        first += heading.columns
    line = _line_height(_font(_HEADING, True))
    bottom = y + line * max(len(lines) for *_, lines in placed)
    for heading, x, span, lines in placed:
        _place_lines(sheet, lines, x, bottom - line * len(lines), _HEADING, heading.colour, bold=True)
        sheet.rules.append(Rule(x, bottom + 1, span, heading.colour))
    return bottom + 1 + _RULE + _GAP


def _place_lines(
    sheet: Sheet, lines: Sequence[str], x: int, y: int, size: int, colour: Colour, bold: bool = False
) -> int:
    """Place lines of text below each other, and return the height below them."""
    for text in lines:
        sheet.texts.append(Text(text, x, y, size, colour, bold))
        y += _line_height(_font(size, bold))
    return y


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
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load DejaVu Sans from matplotlib's files, without importing matplotlib; it has accented and Greek letters."""
    spec, name = find_spec("matplotlib"), "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(spec.origin).parent / "mpl-data/fonts/ttf" / name if spec and spec.origin else None
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
