"""Prints tables on a terminal, as JSON or as Markdown."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NotRequired, TextIO, TypedDict

from benchmark.json_types import JsonObject
from benchmark.tables.column_groups import NARROWEST_LABEL, boxes_that_fit, fits, label_width, wrapped_label
from benchmark.tables.columns import BUILT_IN, Column
from benchmark.tables.contents import MARK
from benchmark.tables.footnotes import Note, footnotes
from benchmark.tables.markdown_text import without_html
from benchmark.tables.table import Figure, Row, Table, all_notes, spread_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Box
    from rich.text import Text


MARKS = {"reference": "●", "local": "○", "both": "◉"}
_SHORT = {"reference": "committed run", "local": "your run", "both": "both"}
INTERVAL = "±: half of a 95 % interval"
WHOLE_INTERVAL = "a…b: a whole one"
"""Added to the legend if an interval is so asymmetric that its ends are printed."""
MEANINGS = {"reference": "committed reference run", "local": "your run", "both": "reference run, reproduced by yours"}


def print_rich(table: Table, file: TextIO | None = None) -> None:
    """Print the table on a terminal: one box per section, or several if it is too wide, with the labels in each box.

    A section whose columns do not even fit one by one is printed as a list.
    """
    from rich.text import Text

    from benchmark.console import console_on

    console = console_on(file)
    for section, section_columns in groupby(table.columns, key=lambda column: column.section):
        columns = list(section_columns)
        boxes = _boxes(console, table, columns)
        console.print(section or title(table), style="bold", markup=False, soft_wrap=boxes is None)
        for box in boxes or ():
            console.print(box)
            if section:
                console.print()
        if boxes is None:
            console.print(Text("\n").join(_listed(table, columns)), soft_wrap=True)
    for note in _terminal_notes(table, console.width):
        console.print(note, style="dim", markup=False)


def _terminal_notes(table: Table, width: int) -> list[str]:
    """Return all notes below columns of `--long`, and three lines of notes below all other tables."""
    if any(column.section for column in table.columns):
        return [*notes_of(table), f"{_interval_legend(table)}."]
    marks = [f"{mark} {_SHORT[s]}" for s, mark in MARKS.items() if any(row.source == s for row in table.rows)]
    legend = "; ".join([*marks, "n: images scored", _interval_legend(table)]) + "."
    # The other tables have no option --long.
    return footnotes(legend, notes_of(table)[1:], width, "--long" if table.number == 1 else "--format markdown")


def _interval_legend(table: Table) -> str:
    spreads = [
        spread_text(figure.value, figure.ci, column.form)
        for row in table.rows
        for column in table.columns
        if (figure := row.cells.get(column.key))
    ]
    return f"{INTERVAL}, {WHOLE_INTERVAL}" if any("…" in spread for spread in spreads) else INTERVAL


def _boxes(console: Console, table: Table, columns: Sequence[Column]) -> list[Box] | None:
    """Return one section as boxes that fit: with values in one line if they fit into one box, else below each other.

    Sections of `--long` have values in one line, and n in the header, so that they do not become too long.
    """
    width = label_width(console.width)
    in_one_line = _box(table, columns, " ", width)
    if fits(console, in_one_line):
        return [in_one_line]
    joint = " " if columns[0].section else "\n"
    for narrower in () if columns[0].section else (width, 20, NARROWEST_LABEL):  # labels in more lines, one box
        if fits(console, box := _box(table, columns, joint, narrower)):
            return [box]
    return boxes_that_fit(console, columns, lambda part: _box(table, part, joint, width))


def _listed(table: Table, columns: Sequence[Column]) -> list[Text]:
    """Return a section of the table as lines: for each row its label, and below it one line per value."""
    from rich.text import Text

    lines = []
    for row in table.rows:
        lines.append(Text(f"{rank_text(row)}  {label_text(row)}" if table.ranked_by else label_text(row)))
        for column in columns:
            lines.append(
                Text(f"  {header(column)}  ").append_text(_rich_figure(row.cells.get(column.key), column, " "))
            )
    if not columns[0].section:
        for method, quotes in table.paper_only.items():
            quoted = [f"{header(c)} {quote}" for c in columns if (quote := _quote(quotes.get(bare_key(c)), c))]
            lines.append(Text(f"  {method}  {'  '.join(quoted)}", style="dim"))
    return [*lines, Text()]


def print_json(table: Table, file: TextIO | None = None) -> None:
    """Print JSON: `{"table", "testbed", "suite", "rows": [{"method", "variant", "cells": {...}}], "notes"}`."""
    document: JsonObject = {
        "table": table.number,
        "testbed": table.testbed,
        "suite": table.suite,
        "rows": [row_json(row, table.columns) for row in table.rows],
        "notes": all_notes(table),
    }
    if table.ranked_by:
        document["ranked_by"] = table.ranked_by
        for row, row_document in zip(table.rows, document["rows"], strict=True):
            row_document["rank"] = row.rank
    if table.paper:
        document["paper"] = {"setting": table.paper["setting"], "not_run_here": table.paper_only}
    print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False), file=file)


def print_markdown(table: Table, file: TextIO | None = None) -> None:
    """Print one Markdown table."""
    columns = table.columns
    ranks = ["rank"] if table.ranked_by else []
    lines = [title(table), "", _line([*ranks, "", *(header(column) for column in columns)])]
    lines.append(_line([*("---:" for _ in ranks), "---", *("---:" for _ in columns)]))
    for row in table.rows:
        figures = [_markdown_figure(row.cells.get(c.key), c) for c in columns]
        lines.append(_line([*(rank_text(row) for _ in ranks), label_text(row).replace("|", "\\|"), *figures]))
    for method, quotes in table.paper_only.items():
        quoted = [_quote(quotes.get(bare_key(c)), c) for c in columns]
        lines.append(_line([*("" for _ in ranks), f"{method} (paper only)", *quoted]))
    print(without_html("\n".join([*lines, "", *(f"{note}  " for note in notes_of(table))])), file=file)


def _box(table: Table, columns: Sequence[Column], joint: str, label_columns: int) -> Box:
    """Return a box of these columns; `joint` separates the parts of a cell, and labels are wrapped."""
    from rich import box
    from rich.table import Table as Box
    from rich.text import Text

    has_edge = not columns[0].section
    part = Box(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=has_edge)
    ranks = bool(table.ranked_by)
    if ranks:
        part.add_column("rank", justify="right")
    part.add_column("", no_wrap=True)
    counts = {column.key: _usual_count(table, column) for column in columns if column.section}
    for column in columns:
        *words, last = [*where(column), *column.header.split()]
        lines = [*words, last + arrow(column)]
        if column.section:
            lines = [*textwrap.wrap(" ".join([*words, last]), 11), counts[column.key]]
            lines[-2] += arrow(column)
        part.add_column(Text(("\n" if column.section else joint).join(filter(None, lines))), justify="right")
    for row in table.rows:
        label = wrapped_label(label_text(row), label_columns)
        cells = [_rich_figure(row.cells.get(c.key), c, joint, counts.get(c.key, "")) for c in columns]
        part.add_row(*[rank_text(row)] * ranks, Text(label), *cells)
    if not columns[0].section:
        for method, quotes in table.paper_only.items():
            quoted = [_quote(quotes.get(bare_key(c)), c) for c in columns]
            part.add_row(*[""] * ranks, Text(wrapped_label(f"  {method}", label_columns)), *quoted, style="dim")
    return part


def label_text(row: Row) -> str:
    """Return the label of a row with its marks: "● bilevel", or "● bilevel †" if its images lost contents."""
    return f"{MARKS[row.source]} {marked_label(row)}"


def marked_label(row: Row) -> str:
    """Return the label of a row, with a mark if its images lost contents: "bilevel †"."""
    return row.label + (f" {MARK}" if row.lost_contents else "")


def rank_text(row: Row) -> str:
    """Return the rank of a row in a ranked table; a dash if it has none."""
    return "–" if row.rank is None else str(row.rank)


def _usual_count(table: Table, column: Column) -> str:
    """Return the count that most rows of a column have, "n=150"; empty if there is none."""
    figures = [figure for row in table.rows if (figure := row.cells.get(column.key)) and figure.n is not None]
    return Counter(map(count_text, figures)).most_common(1)[0][0] if figures else ""


def _rich_figure(figure: Figure | None, column: Column, joint: str, header_count: str | None = None) -> Text:
    """Return a cell whose parts are separated by `joint`.

    In a column of `--long`, `header_count` is the count in the header, which is not repeated; a different count and the
    name are below the value.
    """
    from rich.text import Text

    if figure is None:
        return Text("·", style="dim")
    in_section = bool(column.section) and header_count is not None
    parts = [Text(value_text(figure, column))]
    names = textwrap.wrap(figure.name, 15) if in_section else [figure.name] * bool(figure.name)
    if figure.ci:
        parts.append(Text(spread_text(figure.value, figure.ci, column.form), style="dim"))
    if figure.paper is not None:
        parts.append(Text(_quote(figure.paper, column), style="dim"))
    count = [] if figure.n is None else [Text(count_text(figure), style="dim" if figure.n == figure.of else "yellow")]
    if not in_section:
        return Text(joint).join([parts[0], *map(Text, names), *parts[1:], *count])
    count = [] if figure.n is None or count_text(figure) == header_count else count
    return Text("\n").join([Text(" ").join(parts), *map(Text, names), *count])


def _markdown_figure(figure: Figure | None, column: Column) -> str:
    if figure is None:
        return ""
    parts = [value_text(figure, column), interval_text(figure, column), figure.name, _quote(figure.paper, column)]
    parts.append(f"({count_text(figure)})" if figure.n is not None else "")
    return " ".join(part for part in parts if part)


class CellJson(TypedDict):
    """A cell of `bench table --format json`."""

    value: float | None
    n: int | None
    of: int | None
    unit: str
    higher_is_better: bool | None
    back_end: str
    ci: NotRequired[list[float]]
    """95 % interval: low, high."""
    name: NotRequired[str]
    """What the value refers to, such as the style that most pictures have."""
    paper: NotRequired[float]


def row_json(row: Row, columns: Sequence[Column]) -> JsonObject:
    """Return the object of one row in `bench table --format json`."""
    record = row.record
    return {
        "method": record.method,
        "variant": record.variant,
        "cells": {
            column.key: _cell_json(row.cells[column.key], column) for column in columns if column.key in row.cells
        },
        "label": row.label,
        "preset": record.preset,
        "solver": record.solver,
        "seed": record.seed,
        "pruning": record.pruning,
        "macs": None if record.own_sampler else record.macs,
        "targets": record.concept.get("targets", []),
        "data": record.data,
        "budget": record.budget,
        "recipe": record.recipe,
        "reference": record.reference,
        "source": row.source,
        "lost_contents": None if row.contents is None else row.lost_contents,
    }


def _cell_json(figure: Figure, column: Column) -> CellJson:
    cell: CellJson = {
        "value": figure.value,
        "n": figure.n,
        "of": figure.of,
        "unit": figure.unit,
        "higher_is_better": column.better,
        "back_end": figure.back_end,
    }
    if figure.ci:
        cell["ci"] = list(figure.ci)
    if figure.name:
        cell["name"] = figure.name
    if figure.paper is not None:
        cell["paper"] = figure.paper
    return cell


def title(table: Table) -> str:
    """Return the heading of a table: its number or suite, its testbed, and what was forgotten if all rows share it."""
    name = f"Table {table.number}" if table.suite in BUILT_IN or table.number != 1 else f"Suite {table.suite}"
    return f"{name} on {table.testbed}{aim(table)}"


def aim(table: Table) -> str:
    """Return what was forgotten, ", forgetting A, B", or an empty string if it differs between rows."""
    targets = sorted({tuple(map(str, row.record.concept.get("targets") or ())) for row in table.rows})  # type: ignore[arg-type]
    return f", forgetting {', '.join(targets[0])}" if len(targets) == 1 and targets[0] else ""


def notes_of(table: Table) -> list[str]:
    """Return the sentences below a table: the meaning of its marks, its own notes, and where quotes are from."""
    marks = [f"{mark} {MEANINGS[s]}" for s, mark in MARKS.items() if any(row.source == s for row in table.rows)]
    notes = ["; ".join([*marks, "n: images scored"]) + ".", *all_notes(table)]
    if table.paper:
        setting = table.paper["setting"]
        text = (
            f"[In brackets]: values of the paper's Table {table.number}, measured with {setting['base']} "
            f"({setting['pruning']} at {setting['macs']:g} MACs, {setting['resolution']} pixels; testbed "
            f"{setting['testbed']}). Networks and images differ: compare which method is better, not the values."
        )
        notes.append(Note(text, f"[Brackets]: the paper's values ({setting['testbed']}), of other networks.", 0))
    return notes


def header(column: Column) -> str:
    """Return the heading of a column, with the arrow of its better direction: "COCO FID ↓"."""
    return " ".join([*where(column), column.header + arrow(column)])


def where(column: Column) -> list[str]:
    """Mark the columns of plain captions, because Table 1 has two columns called CLIP."""
    return ["COCO"] if column.suite == "coco" and not column.section else []


def arrow(column: Column) -> str:
    """Return " ↑" if higher is better, " ↓" if lower is better, or nothing."""
    return {True: " ↑", False: " ↓", None: ""}[column.better]


def value_text(figure: Figure, column: Column) -> str:
    """Return a value in the column's format; a dash if no picture was scored."""
    return "–" if figure.value is None else f"{figure.value:{column.form}}"


def interval_text(figure: Figure, column: Column) -> str:
    """Return the 95 % interval, "low…high"; empty if there is none."""
    return f"{figure.ci[0]:{column.form}}…{figure.ci[1]:{column.form}}" if figure.ci else ""


def count_text(figure: Figure) -> str:
    """Return the number of scored pictures, "n=150", or "n=140/150" if some were not scored."""
    return f"n={figure.n}" if figure.n == figure.of else f"n={figure.n}/{figure.of}"


def _quote(value: float | None, column: Column) -> str:
    return "" if value is None else f"[{value:{column.form}}]"


def bare_key(column: Column) -> str:
    """Return the key of a column without its back end: `fid[mini]` -> `fid`."""
    return column.key.partition("[")[0]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
