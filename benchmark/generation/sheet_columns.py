"""Chooses the prompts that a contact sheet shows, and the headings of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.contact_sheet import FORGOTTEN_COLOUR, KEPT_COLOUR, Heading
from benchmark.suites.feature_metrics import FORGOTTEN

if TYPE_CHECKING:
    from prompts.lists import Prompt


SHOWN = {"targets": 6, "implicit": 2, "probes": 0, "neighbours": 3, "kept": 5}
"""Number of columns for each part of the suite, before free columns are filled with other prompts."""
COLUMNS = 8
"""Maximum number of pictures of one model side by side."""


def chosen(prompts: Sequence[Prompt]) -> dict[bool, list[int]]:
    """Return the indices of the prompts to show, at most `COLUMNS` each: whether they should be forgotten -> indices.

    The first prompts of each part are chosen as `SHOWN` states, and free columns are filled with others. Both are
    sorted by part.
    """
    order = [*SHOWN, *sorted({prompt.part for prompt in prompts} - SHOWN.keys())]
    columns: dict[bool, list[int]] = {}
    for forgotten in (True, False):
        rows = [k for k, prompt in enumerate(prompts) if (prompt.part in FORGOTTEN) == forgotten]
        rows.sort(key=lambda k: order.index(prompts[k].part))
        by_part: dict[str, list[int]] = {}
        for k in rows:
            by_part.setdefault(prompts[k].part, []).append(k)
        first = [k for part, own in by_part.items() for k in own[: SHOWN.get(part, COLUMNS)]][:COLUMNS]
        others = [k for k in rows if k not in first][: COLUMNS - len(first)]
        if rows:
            columns[forgotten] = [k for k in rows if k in first or k in others]
    return columns


def heading(forgotten: bool, columns: int) -> Heading:
    """Return the heading of prompts that should be forgotten, or of those that should be preserved."""
    if forgotten:
        return Heading("Prompts for what should be forgotten", columns, FORGOTTEN_COLOUR)
    return Heading("Prompts for what should be preserved", columns, KEPT_COLOUR)
