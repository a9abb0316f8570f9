"""Prints a comparison on a terminal, as JSON or as Markdown."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.tables.columns import Column
from benchmark.tables.compare import Comparison, Contrast
from benchmark.tables.markdown_text import without_html

if TYPE_CHECKING:
    from rich.table import Table as Box

SIGNIFICANT = 0.05
_STYLES = {True: "green", False: "red", None: ""}
"""Colour of a line on a terminal, by whether the left side is better."""
WORSE = "worse by at most"
"""Header of the one-sided bounds that claims of non-inferiority are based on."""
WRAPPED_WIDTH = 72
"""Narrowest terminal, in columns, on which intervals are wrapped so that all values stand side by side."""
INTERVAL = "95 %"
"""Header of the 95 % intervals of the differences."""
_OVER = {"units": ("pair", "pairs"), "prompts": ("prompt", "prompts")}
_DIRECTION = {True: " ↑", False: " ↓", None: ""}


def print_rich(comparison: Comparison, margins: bool = False) -> None:
    """Print one line per column for a terminal.

    On a narrow terminal, the values are divided into several tables with the same lines, or printed as a list. A line
    is green (left is better) or red (left is worse) if p < 0.05 and the interval does not contain 0. `margins` adds the
    bounds for claims of non-inferiority.
    """
    from benchmark.console import console_on
    from benchmark.tables.column_groups import boxes_that_fit, fits
    from benchmark.tables.footnotes import footnotes

    console = console_on()
    places = range(1, len(_headers(comparison, margins)))
    whole = _box(comparison, margins, places, console.width)
    boxes: list[Box] | None = [whole]
    if not (console.width >= WRAPPED_WIDTH and fits(console, whole, wraps=True)):
        boxes = boxes_that_fit(console, places, lambda part: _box(comparison, margins, part, console.width))
    narrow = boxes is None
    console.print(title(comparison), style="bold", markup=False, soft_wrap=narrow)
    for box in boxes or ():
        console.print(box)
    for contrast in comparison.contrasts if narrow else ():
        name, *values = _row(contrast, margins)
        headers = _headers(comparison, margins)[1:]
        labelled_values = [f"{header} {value}" for header, value in zip(headers, values, strict=True) if value]
        lines = "\n  ".join([name, *labelled_values])
        console.print(lines, style=_STYLES[_left_is_better(contrast)], markup=False, soft_wrap=True)
    notes = notes_of(comparison, margins)
    if not any(contrast.column.section for contrast in comparison.contrasts):
        # The list of pairs can be long, and is shown only if it fits beside the other notes.
        notes = footnotes("", [*notes[1:], notes[0]], console.width, "--long")[1:]
    for note in notes:
        console.print(note, style="dim", markup=False, soft_wrap=narrow)


def _box(comparison: Comparison, margins: bool, places: Sequence[int], width: int) -> Box:
    """Return a table of the names of the columns and of the values at these places of a line."""
    from rich import box
    from rich.table import Table as Box
    from rich.text import Text

    from benchmark.tables.column_groups import label_width

    table = Box(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("")
    for place in places:
        header = _headers(comparison, margins)[place]
        lines = textwrap.wrap(header, label_width(width))
        # Only names and intervals may be wrapped: rich would cut the words of narrower columns.
        table.add_column(Text("\n".join(lines)), justify="right", no_wrap=header != INTERVAL)
    for contrast in comparison.contrasts:
        name, *_ = row = _row(contrast, margins)
        if len(places) < len(row) - 1:  # words are not wrapped by rich
            name = "\n  ".join(textwrap.wrap(name, label_width(width) - 2))
        table.add_row(Text(name), *(row[place] for place in places), style=_STYLES[_left_is_better(contrast)])
    return table


def print_json(comparison: Comparison, margins: bool = True) -> None:
    """Print the comparison as one JSON object, which always contains the bounds for claims of non-inferiority."""
    document = {
        "left": comparison.left,
        "right": comparison.right,
        "testbed": comparison.testbed,
        "suite": comparison.suite,
        "units": comparison.units,
        "figures": {
            c.column.key: {
                "left": c.left,
                "right": c.right,
                "difference": c.difference,
                "ci": c.ci,
                "p": c.p,
                "n": c.n,
                "over": c.over,
                "test": c.test,
                "worse_by_at_most": c.worse_by,
                "higher_is_better": c.column.better,
            }
            for c in comparison.contrasts
        },
        "notes": comparison.notes,
    }
    print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def print_markdown(comparison: Comparison, margins: bool = False) -> None:
    """Print the comparison as a Markdown table, followed by its notes.

    `margins` adds the bounds for claims of non-inferiority.
    """
    headers = _headers(comparison, margins)
    lines = [title(comparison), "", "| " + " | ".join(headers) + " |", "|---" + "|---:" * (len(headers) - 1) + "|"]
    lines += ["| " + " | ".join(_row(contrast, margins)) + " |" for contrast in comparison.contrasts]
    print(without_html("\n".join([*lines, "", *(f"{note}  " for note in notes_of(comparison, margins))])))


def title(comparison: Comparison) -> str:
    """Return the heading of a comparison: both sides, suite and testbed."""
    return f"{comparison.left} against {comparison.right}, suite {comparison.suite}, testbed {comparison.testbed}"


def _headers(comparison: Comparison, margins: bool) -> list[str]:
    return ["", comparison.left, comparison.right, "difference", INTERVAL, "p", "n", *([WORSE] if margins else [])]


def _row(contrast: Contrast, margins: bool) -> list[str]:
    """Return the cells of a contrast's row, in the order of `_headers`."""
    form, column = contrast.column.form, contrast.column
    signed = f"+{form}"
    interval = f"{contrast.ci[0]:{signed}} to {contrast.ci[1]:{signed}}" if contrast.ci else ""
    p = "" if contrast.p is None else f"{contrast.p:.2g}"
    return [
        name_of(column),
        f"{contrast.left:{form}}",
        f"{contrast.right:{form}}",
        f"{contrast.difference:{signed}}",
        interval,
        p,
        f"{contrast.n} {_OVER[contrast.over][contrast.n > 1]}",
        *(["" if contrast.worse_by is None else f"{contrast.worse_by:{signed}}"] if margins else []),
    ]


def name_of(column: Column) -> str:
    """Return the heading of a compared column, with the arrow of its better direction: "CLIP (coco) ↑"."""
    suite = f" ({column.suite})" if column.key.startswith("coco_") else ""
    return column.header + suite + _DIRECTION[column.better]


def _left_is_better(contrast: Contrast) -> bool | None:
    """Return whether the left side is significantly better (True) or worse (False).

    None if the difference is not significant or the column has no better direction.
    """
    if contrast.ci is None or contrast.column.better is None or contrast.ci[0] <= 0 <= contrast.ci[1]:
        return None
    if contrast.p is None or contrast.p >= SIGNIFICANT:
        return None
    return (contrast.difference > 0) == contrast.column.better


def notes_of(comparison: Comparison, margins: bool) -> list[str]:
    """Return the sentences below a comparison: its pairs of runs, its notes, and the meaning of the bounds."""
    seeds_by_targets: dict[str, list[str]] = {}
    for unit in comparison.units:
        targets, _, seed = unit.removesuffix(")").rpartition("seed ")
        seeds_by_targets.setdefault(targets.rstrip(" ("), []).append(seed)
    units = [
        f"{targets} (seed {', '.join(target_seeds)})" if targets else f"seed {', '.join(target_seeds)}"
        for targets, target_seeds in seeds_by_targets.items()
    ]
    bounds = [f"'{WORSE}': one-sided 95 % bound (Student's t) of how much worse {comparison.left} is, over pairs."]
    return [f"Pairs of runs: {'; '.join(units)}.", *comparison.notes, *(bounds if margins else [])]
