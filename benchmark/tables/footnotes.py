"""Shortens the notes below a table to three lines of a terminal.

JSON, Markdown and `--long` have all notes in full.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Self

LINES, NARROWEST = 3, 80
"""Most lines of notes, on a terminal of at least so many columns. A narrower one has as many notes in more lines."""


class Note(str):
    """A sentence below a table, with a shorter form for terminals.

    Notes of a smaller `rank` are shown first: 0 for those without which values would be misread, 1 for definitions, 2
    for what the table leaves out.
    """

    short: str
    rank: int

    def __new__(cls, text: str, short: str = "", rank: int = 1) -> Self:
        note = super().__new__(cls, text)
        note.short, note.rank = short or text, rank
        return note


def footnotes(legend: str, notes: Sequence[str], width: int, all_notes: str) -> list[str]:
    """Return the legend and as many notes as fit into three lines, as two paragraphs.

    Args:
        legend: meaning of the marks.
        notes: sentences; those that are no `Note` have rank 1.
        width: columns of the terminal.
        all_notes: option that shows all notes; it is named if some do not fit.
    """
    columns = max(width, NARROWEST)
    room = LINES - len(textwrap.wrap(legend, columns))
    ranked = sorted(
        (note if isinstance(note, Note) else Note(note) for note in dict.fromkeys(notes)), key=lambda note: note.rank
    )
    for count in range(len(ranked), -1, -1):
        left_out = len(ranked) - count
        more = [f"{left_out} more {'notes' if left_out > 1 else 'note'}: {all_notes}."] if left_out else []
        paragraph = " ".join([*(note.short for note in ranked[:count]), *more])
        if len(textwrap.wrap(paragraph, columns)) <= room:
            break
    return [legend, paragraph] if paragraph else [legend]
