"""Prints tables as LaTeX: complete `table` environments in the style of booktabs.

Each section of a table becomes a `table` environment. A section that is wider than a page becomes several of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TextIO

from benchmark.tables.best import SIGNIFICANT, Best, best_rows
from benchmark.tables.columns import Column
from benchmark.tables.latex_text import comment, escape, needs_unicode_fonts, number
from benchmark.tables.render import MARKS, MEANINGS, aim, bare_key, header, marked_label, notes_of, rank_text
from benchmark.tables.table import Figure, Row, Table, all_notes, spread_text

TEXT_WIDTH = 397.0
"""Widest `tabular` in points: the text width of most conferences with one column. The others are divided."""
NORMAL_WIDTH, SMALL_WIDTH, COLUMN_SPACE = 4.2, 3.3, 3.0
"""Estimated width of a character in sizes `footnotesize` and `scriptsize`, and `tabcolsep`, in points."""
LONGEST_LABEL, LABEL_WIDTH = 30, 120.0
"""Characters of a label that is not wrapped, and width of the column of labels that are, in points."""
MISSING = "--"
_SUBJECTS = {2: "Explicit images under attack", 3: "Plain captions after explicit content was erased"}
PACKAGES = r"Needs \usepackage{booktabs} and \usepackage[T1]{fontenc}."
WIDTH = "If a table is wider than the text, use table* instead of table, or select columns with --columns."
UNICODE = "pdfLaTeX cannot print %s: use XeLaTeX or LuaLaTeX without fontenc, and a font that has these characters."
INTERVALS = r"$\pm$: half of the 95\,\% interval; $(a\ldots b)$: a whole interval that is asymmetric."


def print_latex(table: Table, file: TextIO | None = None) -> None:
    """Print one `table` environment per group of columns, below a comment with the packages and the notes."""
    best = best_rows(table)
    sources = {row.source for row in table.rows}
    labels = [(f"{MARKS[row.source]} " if len(sources) > 1 else "") + marked_label(row) for row in table.rows]
    longest = max(map(len, labels), default=0)
    parts = _parts(table, NORMAL_WIDTH * longest if longest <= LONGEST_LABEL else LABEL_WIDTH)
    printed = [*labels, _subject(table), *(header(column) for column in table.columns), *notes_of(table)]
    lines = preamble(all_notes(table), printed)

    def ranks(row: Row | None) -> list[str]:
        return [] if not table.ranked_by else [rank_text(row) if row and row.rank is not None else MISSING]

    for number_of_part, columns in enumerate(parts, 1):
        suffix = f"-{number_of_part}" if len(parts) > 1 else ""
        caption = " ".join(_caption(table, columns, best, with_notes=number_of_part == 1))
        rows = [
            [escape(label), *ranks(row), *(_cell(row.cells.get(c.key), c, k in best[c.key].rows) for c in columns)]
            for k, (label, row) in enumerate(zip(labels, table.rows, strict=True))
        ]
        if columns[0].section:
            quoted_rows = []
        else:
            quoted_rows = [
                [
                    escape(f"{method} (paper only)"),
                    *ranks(None),
                    *(_quote(quotes.get(bare_key(c)), c) or MISSING for c in columns),
                ]
                for method, quotes in table.paper_only.items()
            ]
        headers = ["", *(["rank"] if table.ranked_by else []), *(escape(header(column)) for column in columns)]
        lines += ["", *environment(headers, [rows, quoted_rows], caption, f"table{table.number}-{table.suite}{suffix}")]
    print("\n".join(lines), file=file)


def _parts(table: Table, label_width: float) -> list[list[Column]]:
    """Return the columns of each `tabular`: those of one section, in equal parts that fit into `TEXT_WIDTH`."""
    parts: list[list[Column]] = []
    for _, columns_of_section in groupby(table.columns, key=lambda column: column.section):
        columns = list(columns_of_section)
        widths = [_column_width(table, column) for column in columns]
        for size in range(len(columns), 0, -1):
            starts = range(0, len(columns), size)
            if size == 1 or all(label_width + sum(widths[k : k + size]) <= TEXT_WIDTH for k in starts):
                balanced = -(-len(columns) // len(starts))
                parts += [columns[k : k + balanced] for k in range(0, len(columns), balanced)]
                break
    return parts


def _column_width(table: Table, column: Column) -> float:
    """Estimate the width of a column in points, with the space between columns."""
    widths = [NORMAL_WIDTH * len(header(column))]
    for row in table.rows:
        if figure := row.cells.get(column.key):
            small = len(spread_text(figure.value, figure.ci, column.form)) + 1
            small += len(f"({figure.name})") if figure.name else 0
            normal = len(f"{figure.value or 0:{column.form}}")
            normal += 0 if figure.paper is None else len(f" [{figure.paper:{column.form}}]")
            widths.append(NORMAL_WIDTH * normal + SMALL_WIDTH * small)
    return max(widths) + 2 * COLUMN_SPACE


def preamble(notes: Sequence[str], printed: Sequence[str]) -> list[str]:
    """Return the comment above the tables: packages, characters that need another engine, and the notes."""
    rare = needs_unicode_fonts("".join(printed))
    sentences = [PACKAGES, WIDTH, *([UNICODE % " ".join(rare)] if rare else []), *notes]
    return [line for sentence in sentences for line in comment(sentence)]


def environment(
    headers: Sequence[str], blocks: Sequence[Sequence[Sequence[str]]], caption: str, name: str
) -> list[str]:
    r"""Return the lines of a `table` environment. Blocks of rows are separated by `\midrule`."""
    longest = max((len(row[0]) for block in blocks for row in block), default=0)
    label_column = "l" if longest <= LONGEST_LABEL else f"p{{{LABEL_WIDTH:g}pt}}"
    lines = [
        r"\begin{table}[tbp]",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}}}",
        r"\centering",
        r"\footnotesize",
        rf"\setlength{{\tabcolsep}}{{{COLUMN_SPACE:g}pt}}",
        rf"\begin{{tabular}}{{@{{}}{label_column}{'r' * (len(headers) - 1)}@{{}}}}",
        r"\toprule",
        _line(headers),
    ]
    for block in blocks:
        if block:
            lines.append(r"\midrule")
            raggedright = r"\raggedright " if label_column != "l" else ""
            lines += [_line([raggedright + row[0], *row[1:]]) for row in block]
    return [*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(figure: Figure | None, column: Column, is_best: bool) -> str:
    """Return a cell: value and interval in math mode, then what the value refers to, and a quote."""
    if figure is None or figure.value is None:
        return MISSING
    value = number(f"{figure.value:{column.form}}")
    value = rf"\mathbf{{{value}}}" if is_best else value
    interval = spread(figure.value, figure.ci, column.form)
    name = rf"{{\scriptsize {escape(f'({figure.name})')}}}" if figure.name else ""
    return " ".join(part for part in (f"${value}{interval}$", name, _quote(figure.paper, column)) if part)


def spread(value: float, interval: tuple[float, float] | None, form: str) -> str:
    """Return an interval in math mode: ± half of its width, or its ends if it is asymmetric."""
    text = spread_text(value, interval, form)
    if not text:
        return ""
    if "…" in text:
        low, high = map(number, text.split("…"))
        return rf" {{\scriptstyle ({low}\ldots {high})}}"
    return rf" {{\scriptstyle\pm {number(text.removeprefix('±'))}}}"


def _quote(value: float | None, column: Column) -> str:
    return "" if value is None else f"{{[}}${number(f'{value:{column.form}}')}${{]}}"


def _subject(table: Table) -> str:
    suite = f"Suite {table.suite}"
    return f"{_SUBJECTS.get(table.number, suite)} on testbed {table.testbed}{aim(table)}"


def _caption(table: Table, columns: Sequence[Column], best: Mapping[str, Best], *, with_notes: bool) -> list[str]:
    """Return the sentences of a caption: what was scored, n, intervals, the rule of bold values, and notes."""
    section = f" {columns[0].section}." if columns[0].section else ""
    sentences = [escape(f"{_subject(table)}.{section}"), _counts(table, columns)]
    if any(figure.ci for row in table.rows for c in columns if (figure := row.cells.get(c.key))):
        sentences.append(INTERVALS)
    sentences += _bold_rule(columns, best)
    sources = [source for source in MARKS if any(row.source == source for row in table.rows)]
    if len(sources) > 1:
        sentences.append(escape("; ".join(f"{MARKS[source]} {MEANINGS[source]}" for source in sources) + "."))
    if with_notes:
        own_notes = notes_of(table)[1:]  # the first one is the legend of the marks
        sentences += [escape(note) for note in own_notes if "--" not in note]  # those are about options
    return [sentence for sentence in sentences if sentence]


def _counts(table: Table, columns: Sequence[Column]) -> str:
    """Return how many images each value is computed from: "$n$: 150 images (CLIP, CP); 1000 images (FID)."."""
    headers_by_count: dict[str, list[str]] = {}
    for column in columns:
        counts = sorted({f.n for row in table.rows if (f := row.cells.get(column.key)) and f.n is not None})
        if counts:
            text = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            headers_by_count.setdefault(text, []).append(escape(header(column).rstrip(" ↑↓")))
    several = len(headers_by_count) > 1
    parts = [
        f"{count} images" + (f" ({', '.join(names)})" if several else "") for count, names in headers_by_count.items()
    ]
    return f"$n$: {'; '.join(parts)}." if parts else ""


def _bold_rule(columns: Sequence[Column], best: Mapping[str, Best]) -> list[str]:
    """Return the rule by which values of these columns are bold, and the columns without bold values."""
    marked = [column for column in columns if best[column.key].rows]
    rules = {rule for column in marked for rule in best[column.key].rules}
    by_intervals, untested = (
        ", ".join(escape(header(c).rstrip(" ↑↓")) for c in marked if rule in best[c.key].rules)
        for rule in ("intervals", "neither")
    )
    ways = []
    if "paired" in rules:
        ways.append(rf"that a test paired by prompt and seed does not tell from it ($p \geq {SIGNIFICANT}$)")
    if "intervals" in rules:
        where = f" where there is no such test ({by_intervals})" if "paired" in rules else ""
        ways.append(f"whose intervals overlap with its interval{where}")
    sentences = []
    if marked:
        further = ", and all values " + " or ".join(ways) if ways else ""
        sentences.append(f"Bold: the best value of each column{further}.")
    if ways and untested:
        sentences.append(f"Values without test and interval are bold only if they are the best ({untested}).")
    reasons: dict[str, list[str]] = {}
    for column in columns:
        if why := best[column.key].why_none:
            reasons.setdefault(why, []).append(escape(header(column).rstrip(" ↑↓")))
    sentences += [f"No value is bold in {', '.join(names)}: {why}." for why, names in reasons.items()]
    return sentences
