"""Reads a public prompt list from a user's file in its published format, and checks it row by row.

Nothing is corrected silently.
"""

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from benchmark.errors import DataError
from prompts.rows import PublicPrompt, prompt_of
from prompts.sources import ONLY, SOURCES, Source
from prompts.tables import LINES, NUMBERS, Table, check_commas, is_missing, read_table

Variant = Literal["as-published", "unique"]
_ROWS_LISTED = 5
"""Number of rows that a warning lists."""
_SUBJECT_FIELDS = ("artist", "categories")
"""Fields that describe the subject of prompts. A file with a column for such a field is not a list that has no such
field."""
_NUMERIC_FIELDS = ("seed", "guidance", "width", "height")
"""Fields with numbers; all other fields are text."""


@dataclass(frozen=True)
class PublicList:
    """All rows of a list in the order of the file, and the checksum of the file."""

    source: Source
    rows: tuple[PublicPrompt, ...]
    sha256: str
    kind: str  # file format: "csv", "txt" or "parquet"

    def variant(self, name: Variant) -> tuple[PublicPrompt, ...]:
        """Return a variant of the list: `as-published` has all rows, `unique` has none that is `empty` or `repeated`.

        The remaining rows keep their ids and seeds.
        """
        left_out = {*self.empty, *self.repeated} if name == "unique" else set()
        return tuple(row for number, row in enumerate(self.rows) if number not in left_out)

    @cached_property
    def empty(self) -> tuple[int, ...]:
        """Numbers of the rows with an empty prompt, starting at 0."""
        return tuple(number for number, row in enumerate(self.rows) if not row.text.strip())

    @cached_property
    def repeated(self) -> tuple[int, ...]:
        """Numbers of the rows whose prompt equals that of an earlier row, ignoring outer spaces and empty prompts."""
        first: dict[str, int] = {}
        for number, row in enumerate(self.rows):
            first.setdefault(row.text.strip(), number)
        return tuple(n for n, row in enumerate(self.rows) if (text := row.text.strip()) and first[text] < n)


@dataclass(frozen=True)
class Report:
    """Result of checking a file: the list, or the errors that make it unusable, and warnings. No prompt is quoted."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    prompt_list: PublicList | None = None


def read_public(path: Path, source: Source) -> PublicList:
    """Return the list in the file `path`. Raises DataError with the first error, its file and its row."""
    return accepted(examine(read_bytes(path), source, path))


def read_bytes(path: Path) -> bytes:
    """Return the content of the file. Raises DataError if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"The prompt list {path} cannot be read ({error.strerror}): give a file.") from None


def accepted(report: Report) -> PublicList:
    """Return the list of a report without errors. Raises DataError with the first error and the number of others."""
    if report.prompt_list is None:
        more = len(report.errors) - 1
        raise DataError(report.errors[0] + (f" (`bench prompts check` shows {more} more.)" if more else ""))
    return report.prompt_list


def examine(data: bytes, source: Source, path: Path) -> Report:
    """Check `data`, the content of the file `path`, row by row, and report all errors in the order of the file.

    Errors are:

    - a different checksum than the declared one,
    - a file that `tables.read_table` refuses,
    - a declared column that is missing or occurs twice, or a column that shows that the file is a different list,
    - no rows, or a row with the wrong number of fields,
    - a seed, guidance or size out of range, or an artist other than that of the list,
    - an unclosed quote that takes several lines.

    Warnings are a different number of rows, empty or repeated prompts, prompts that represent a missing value ("NaN"),
    and prompts with several lines.
    """
    checksum = hashlib.sha256(data).hexdigest()
    if source.sha256 not in (None, checksum):
        published = f"its SHA-256 is {checksum}, not {source.sha256}"
        return Report((f"{path} is not {source.name} as published ({published}): download it again.",))
    try:
        if source.columns:
            check_commas(
                data, path, {column for listed in SOURCES for names in listed.columns.values() for column in names}
            )
        table = read_table(data, path, headed=bool(source.columns))
        positions = _find_columns(table, source, path)
        if not table.rows:
            raise DataError(f"{path} has no prompts, but {source.name} has {source.rows}: download it again.")
    except DataError as error:
        return Report((str(error),))
    errors, warnings = _check_row_count(table, source, path, positions)
    rows = []
    for number, cells in enumerate(table.rows):
        where = f"{path}, row {number + table.first}"
        if len(cells) != len(table.header):
            errors.append(
                f"{where}: it has {len(cells)} fields, but the header has {len(table.header)}: is a comma unquoted?"
            )
            continue
        try:
            rows.append(prompt_of(number, {name: cells[position] for name, position in positions.items()}, source))
        except ValueError as error:
            errors.append(f"{where}: {error}.")
    if errors:
        return Report(tuple(errors), tuple(warnings))
    prompt_list = PublicList(source, tuple(rows), checksum, table.kind)
    missing = tuple(n for n, row in enumerate(rows) if row.text.strip() and is_missing(row.text))
    if missing:
        warnings.append(
            f"{path}: {_describe_rows(missing, table.first)} a placeholder for a missing value, such as NaN."
        )
    for problem, numbers in (("empty", prompt_list.empty), ("repeated", prompt_list.repeated)):
        if numbers:
            warnings.append(
                f"{path}: {_describe_rows(numbers, table.first)} {problem}: use the variant `unique` to leave them out."
            )
    return Report((), tuple(warnings), prompt_list)


def _find_columns(table: Table, source: Source, path: Path) -> dict[str, int]:
    """Return the column index of each field of a prompt. Raises DataError if columns are missing or repeated."""
    if not source.columns:
        _check_lines(table, source, path)
        return {"text": 0}
    positions, missing = {}, []
    for name, names in source.columns.items():
        columns = [column for column in names if column in table.header]
        if columns:
            positions[name] = table.header.index(columns[0])
            if table.header.count(columns[0]) > 1:
                raise DataError(f"{path}, row 1: the column {columns[0]} occurs twice: remove one of them.")
        elif ONLY in names and len(table.header) == 1:
            if len(table.rows) == source.rows - 1:  # the first prompt was read as the header
                raise DataError(f"{path}, row 1: this is not a header: insert the line {names[0]} above it.")
            positions[name] = 0
        elif name not in source.optional:
            missing.append(names[0])
    if missing:
        matching = _matching_lists(table.header)
        hint = f"is it {_join_by_or(matching)}?" if matching else f"it is not {source.name}, or its header is missing."
        raise DataError(f"{path}, row 1: missing columns: {', '.join(missing)}; {hint}")
    _check_about(table, source, path)
    _check_kinds(table, positions, path)
    return positions


def _check_kinds(table: Table, positions: Mapping[str, int], path: Path) -> None:
    """Raise DataError for a column that contains neither text nor, for a numeric field, numbers."""
    for name, position in positions.items():
        kind = table.kinds.get(table.header[position], "")
        if kind and not (kind == NUMBERS and name in _NUMERIC_FIELDS):
            wanted = "numbers or text" if name in _NUMERIC_FIELDS else "text"
            column = "its only column" if len(table.header) == 1 else f"the column {table.header[position]}"
            raise DataError(f"{path}: {column} contains {kind}: save it as {wanted}.")


def _check_about(table: Table, source: Source, path: Path) -> None:
    """Raise DataError if a file has all columns of `source` and another one that only a different list has."""
    subject_columns = {
        column for listed in SOURCES for name in _SUBJECT_FIELDS for column in listed.columns.get(name, ())
    }
    subject_columns -= {column for name in _SUBJECT_FIELDS for column in source.columns.get(name, ())}
    foreign = [column for column in table.header if column in subject_columns]
    matching = _matching_lists(table.header)
    if foreign and matching and source.name not in matching:
        raise DataError(
            f"{path}, row 1: it has a column {foreign[0]}, but {source.name} does not: is it {_join_by_or(matching)}?"
        )


def _check_lines(table: Table, source: Source, path: Path) -> None:
    """Raise DataError if a file is not the list `source`, which has no header and one prompt per line."""
    if table.header != LINES:
        raise DataError(f"{path} is a {table.kind} file, but {source.name} is a text file with one prompt per line.")
    if len(table.rows) == 1 < source.rows:
        raise DataError(
            f"{path} has only one line, possibly an error message of the server: download {source.name} again."
        )
    first = table.rows[0][0] if table.rows else ""
    if matching := _matching_lists(tuple(cell.strip('" ') for cell in first.split(","))):
        raise DataError(f"{path}, row 1: this is a header, but {source.name} has none: is it {_join_by_or(matching)}?")


def _matching_lists(header: tuple[str, ...]) -> list[str]:
    """Return the names of the lists whose columns the header has; of these, the ones with the most columns."""
    matching: dict[int, list[str]] = {}
    for source in SOURCES:
        matched = {name for name, names in source.columns.items() if set(names) & set(header)}
        if len(matched) == 1 < len(header) and "prompt" in header:
            continue  # any prompt file has this column, so it does not identify a list
        if matched and matched >= source.columns.keys() - set(source.optional):
            matching.setdefault(len(matched), []).append(source.name)
    return matching[max(matching)] if matching else []


def _join_by_or(names: Sequence[str]) -> str:
    return " or ".join(names)


def _check_row_count(
    table: Table, source: Source, path: Path, positions: Mapping[str, int]
) -> tuple[list[str], list[str]]:
    """Return errors and warnings about the number of rows, and about rows with several lines.

    A row with several lines is reported as an unclosed quote if rows are missing, and if its lines look like rows or
    the list has no numbers by which rows can be recognised. Otherwise its prompt contains line breaks, which is a
    warning.
    """
    count, errors, warnings = len(table.rows), [], []
    for row, first, last in table.spans:
        span = f"{path}, row {row}: it extends from line {first} to line {last}"
        if count == source.rows:
            warnings.append(f"{span}. No row is missing, so its text contains line breaks.")
        elif row < table.first or any(
            _holds_rows(table, cells, positions) for cells in table.rows[row - table.first :][:1]
        ):
            errors.append(f"{span}, and the file has {count} rows instead of {source.rows}: is a quote unclosed?")
        else:
            warnings.append(f"{span}. None of these lines looks like a row, so its text contains line breaks.")
    if count != source.rows and not errors:
        warnings.append(f"{path} has {count} rows, but {source.name} was published with {source.rows}.")
    return errors, warnings if not errors else []


def _holds_rows(table: Table, row: Sequence[str], positions: Mapping[str, int]) -> bool:
    """Return whether a line inside a cell of `row` is a row of the list, or the rest of one after an unclosed quote.

    A line is recognised by numbers in the numeric columns. Without numeric columns, rows cannot be distinguished from
    text, and the result is True.
    """
    numbers = {positions[name] for name in ("seed", "guidance", "width", "height") if name in positions}
    if not numbers:
        return True
    for column, cell in enumerate(row):
        lines = cell.splitlines()
        for k, line in enumerate(lines if len(lines) > 1 else ()):
            start, end = column if k == 0 else 0, column + 1 if k == len(lines) - 1 else len(table.header)
            cells = next(csv.reader([line]), [])
            if len(cells) != end - start:
                continue
            inside = [cells[position - start].strip() for position in numbers if start <= position < end]
            if inside and all(re.fullmatch(r"[-+0-9.eE]*", text) for text in inside):
                return True
    return False


def _describe_rows(numbers: Sequence[int], first: int) -> str:
    """Return the beginning of a warning about rows: "2 prompts (rows 3, 7) are". Only the first rows are listed."""
    named = ", ".join(str(number + first) for number in numbers[:_ROWS_LISTED]) + (
        ", …" if len(numbers) > _ROWS_LISTED else ""
    )
    if len(numbers) == 1:
        return f"1 prompt (row {named}) is"
    return f"{len(numbers)} prompts (rows {named}) are"
