"""Prints tables and comparisons as CSV (RFC 4180), with raw values.

A table has one line per model, a comparison has one line per column of the tables. The names of the columns are those
of `--format json`. Notes are not part of a CSV file; the command line prints them on standard error.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from benchmark.json_types import JsonObject
from benchmark.tables.columns import Column
from benchmark.tables.compare import Comparison
from benchmark.tables.render import bare_key, row_json
from benchmark.tables.table import Row, Table, half_width

FORMULA = ("=", "+", "-", "@")
"""First characters of a cell that spreadsheets execute."""
SETTINGS = (
    "label", "source", "method", "variant", "preset", "solver", "seed", "pruning", "macs", "targets", "data", "budget",
    "recipe", "reference", "lost_contents",
)  # fmt: skip
"""Columns that describe a model, before the columns with its scores."""
CONTRAST = (
    "column", "left_label", "right_label", "left", "right", "difference", "half_width", "low", "high", "p", "n", "over",
    "test", "worse_by_at_most", "higher_is_better",
)  # fmt: skip


def print_csv(table: Table, file: TextIO | None = None) -> None:
    """Print one line per model: its settings, then `name` and fields that begin with it for each column.

    `name_low` and `name_high` are the ends of the 95 % interval, `name_half_width` is half of its width, and `name_n`
    is the number of images. A missing value is an empty field. `name_name` is added to columns whose values refer to
    something, such as a style. If the paper's values are shown, `name_paper` is added, and the paper's models that were
    not run here have `paper` as their source.
    """
    header = [*(["rank"] if table.ranked_by else []), *SETTINGS]
    fields: dict[str, str] = {}  # name of the first field of each column, by the column's key
    for column in table.columns:
        is_named = any(figure.name for row in table.rows if (figure := row.cells.get(column.key)))
        parts = ("", "_half_width", "_low", "_high", "_n", *(["_name"] * is_named), *(["_paper"] * bool(table.paper)))
        name = column.key
        while any(name + part in header for part in parts):  # as a column of a plug-in that is called `label`
            name = f"{column.suite}_{name}"
        fields[column.key] = name
        header += [name + part for part in parts]
    lines = [_settings(row) | _scores(row, table.columns, fields) for row in table.rows]
    if table.ranked_by:
        lines = [{"rank": row.rank, **line} for row, line in zip(table.rows, lines, strict=True)]
    for method, quotes in table.paper_only.items():
        quoted = {f"{fields[c.key]}_paper": quotes[bare_key(c)] for c in table.columns if bare_key(c) in quotes}
        lines.append({"label": method, "method": method, "source": "paper", **quoted})
    _write(header, lines, file)


def print_comparison_csv(comparison: Comparison, margins: bool = True) -> None:
    """Print one line per compared column, which always has the bound for claims of non-inferiority."""
    lines: list[JsonObject] = [
        {
            "column": contrast.column.key,
            "left_label": comparison.left,
            "right_label": comparison.right,
            "left": contrast.left,
            "right": contrast.right,
            "difference": contrast.difference,
            "half_width": half_width(contrast.ci),
            "low": contrast.ci[0] if contrast.ci else None,
            "high": contrast.ci[1] if contrast.ci else None,
            "p": contrast.p,
            "n": contrast.n,
            "over": contrast.over,
            "test": contrast.test,
            "worse_by_at_most": contrast.worse_by,
            "higher_is_better": contrast.column.better,
        }
        for contrast in comparison.contrasts
    ]
    _write(CONTRAST, lines, None)


def _settings(row: Row) -> JsonObject:
    """Return the settings of a row as one field each: lists are joined with "; ", and objects are written as JSON."""
    facts = row_json(row, ())
    targets = facts["targets"]
    budget = json.dumps(facts["budget"], sort_keys=True)
    joined_targets = "; ".join(map(str, targets)) if isinstance(targets, list) else ""
    return {key: facts[key] for key in SETTINGS} | {"targets": joined_targets, "budget": budget}


def _scores(row: Row, columns: Sequence[Column], fields: Mapping[str, str]) -> JsonObject:
    scores: JsonObject = {}
    for column in columns:
        name = fields[column.key]
        if figure := row.cells.get(column.key):
            low, high = figure.ci or (None, None)
            scores |= {name: figure.value, f"{name}_half_width": half_width(figure.ci), f"{name}_n": figure.n}
            scores |= {f"{name}_low": low, f"{name}_high": high}
            scores |= {f"{name}_name": figure.name} if figure.name else {}
            scores |= {f"{name}_paper": figure.paper} if figure.paper is not None else {}
    return scores


def guarded(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: texts that begin like one get an apostrophe in front.

    Labels can be from records of other people, and `=HYPERLINK(...)` in a cell would be executed by a spreadsheet.
    Numbers stay as they are. Prompt lists are not guarded, because they are read again by this package.
    """
    return f"'{value}" if isinstance(value, str) and value.lstrip()[:1] in FORMULA else value


def _write(header: Sequence[str], lines: Sequence[JsonObject], file: TextIO | None) -> None:
    writer = csv.DictWriter(file or sys.stdout, header, restval="")
    writer.writeheader()
    writer.writerows({name: guarded(value) for name, value in line.items()} for line in lines)
