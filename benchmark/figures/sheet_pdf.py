"""Draws a contact sheet as PDF: text stays text, and images are stored without loss."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from benchmark.contact_sheet import Colour, Picture, Sheet

if TYPE_CHECKING:
    import numpy as np


PIXELS_PER_INCH = 96
"""Resolution of a screen at 100 %, at which the PDF is as large as the PNG."""
SHARPNESS = 2
"""Images are stored with at most this many pixels per pixel of the sheet."""


def pdf_bytes(sheet: Sheet) -> bytes:
    """Return a sheet as the bytes of a PDF file with one page. Equal sheets give equal bytes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    width, height = sheet.width, sheet.height
    figure = Figure(figsize=(width / PIXELS_PER_INCH, height / PIXELS_PER_INCH))
    page = figure.add_axes((0, 0, 1, 1))
    page.set_xlim(0, width)
    page.set_ylim(height, 0)
    page.set_axis_off()
    for text in sheet.texts:
        page.text(
            text.x, text.y, text.text, fontsize=text.size * 72 / PIXELS_PER_INCH, color=_rgb(text.colour),
            family="DejaVu Sans", weight="bold" if text.bold else "normal", va="top", parse_math=False,
        )  # fmt: skip
    for rule in sheet.rules:
        page.add_patch(Rectangle((rule.x, rule.y), rule.width, rule.height, color=_rgb(rule.colour), linewidth=0))
    for picture in sheet.pictures:
        extent = (picture.x, picture.x + picture.width, picture.y + picture.height, picture.y)
        page.imshow(_resized(picture), extent=extent, interpolation="none", aspect="auto")
    page.set_xlim(0, width)  # imshow changes the limits
    page.set_ylim(height, 0)
    file = io.BytesIO()
    with rc_context({"pdf.fonttype": 42}):
        figure.savefig(file, format="pdf", metadata={"CreationDate": None})
    return file.getvalue()


def _rgb(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def _resized(picture: Picture) -> np.ndarray:
    """Return the pixels of an image with at least as many pixels as its place on the sheet, and not too many."""
    import numpy as np
    from PIL import Image

    own_height, own_width = picture.pixels.shape[:2]
    scale = min(max(1.0, own_width / picture.width, own_height / picture.height), SHARPNESS)
    size = (round(picture.width * scale), round(picture.height * scale))
    return np.asarray(Image.fromarray(picture.pixels).resize(size, Image.Resampling.LANCZOS))
