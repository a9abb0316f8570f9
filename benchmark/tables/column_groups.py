"""Divides the columns of a table into groups that fit on a terminal one below the other, so that nothing is cut."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Box

_Column = TypeVar("_Column")
WIDEST_LABEL, NARROWEST_LABEL = 24, 16
"""Columns of a terminal that the label of a row may take before it is wrapped: on 72 columns and more, and at least."""


def label_width(width: int) -> int:
    """Return the columns for the labels of rows on a terminal of this width: a third of it, within limits."""
    return max(NARROWEST_LABEL, min(WIDEST_LABEL, width // 3))


def wrapped_label(text: str, width: int) -> str:
    """Return a label in lines of at most `width` columns; all but the first are indented.

    Lines do not break within "(seed 1)" and "(4 seeds)".
    """
    joined = text.replace("(seed ", "(seed\u00a0").replace(" seeds)", "\u00a0seeds)")
    lines = textwrap.wrap(joined, width - 2 if len(joined) > width else width)
    return "\n  ".join(lines).replace("\u00a0", " ")


def fits(console: Console, box: Box, *, wraps: bool = False) -> bool:
    """Return whether a table fits without cut cells; with `wraps`, lines may be wrapped between words."""
    unlimited = console.options.update(max_width=10_000)
    needed = console.measure(box, options=unlimited)
    return (needed.minimum if wraps else needed.maximum) <= console.width


def boxes_that_fit(
    console: Console, columns: Sequence[_Column], box_of: Callable[[Sequence[_Column]], Box], *, wraps: bool = False
) -> list[Box] | None:
    """Return the fewest tables that show all columns in their order and fit; None if one column is too wide.

    Args:
        console: the terminal.
        columns: the columns of values, without the labels.
        box_of: creates a table of some of the columns, with the labels of the rows as its first column.
        wraps: whether lines may be wrapped between words.
    """
    boxes: list[Box] = []
    start = 0
    while start < len(columns):
        stop = start
        box = None
        while stop < len(columns) and fits(console, wider := box_of(columns[start : stop + 1]), wraps=wraps):
            box, stop = wider, stop + 1
        if box is None:
            return None
        boxes.append(box)
        start = stop
    return boxes
