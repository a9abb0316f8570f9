"""A public prompt list as a user has it: read in its own format, checked row by row, and nothing changed in silence."""

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
_NAMED = 5  # rows that a warning names
_ABOUT = ("artist", "categories")
"""Fields that say what prompts are about: a list without one of them does not have its column."""
_NUMBERS = ("seed", "guidance", "width", "height")
"""Fields that are numbers; all others are text."""


@dataclass(frozen=True)
class PublicList:
    """All rows of a list in its order, and the checksum of the file that they came from."""

    source: Source
    rows: tuple[PublicPrompt, ...]
    sha256: str
    kind: str  # of file: "csv", "txt" or "parquet"

    def variant(self, name: Variant) -> tuple[PublicPrompt, ...]:
        """`as-published` is every row; `unique` leaves out those that are `empty` or `repeated`.

        What is left keeps its ids and seeds.
        """
        left_out = {*self.empty, *self.repeated} if name == "unique" else set()
        return tuple(row for number, row in enumerate(self.rows) if number not in left_out)

    @cached_property
    def empty(self) -> tuple[int, ...]:
        """Numbers of the rows without a prompt, counted from 0."""
        return tuple(number for number, row in enumerate(self.rows) if not row.text.strip())

    @cached_property
    def repeated(self) -> tuple[int, ...]:
        """Numbers of the rows whose prompt has stood before, but for outer spaces; empty ones aside."""
        first: dict[str, int] = {}
        for number, row in enumerate(self.rows):
            first.setdefault(row.text.strip(), number)
        return tuple(n for n, row in enumerate(self.rows) if (text := row.text.strip()) and first[text] < n)


@dataclass(frozen=True)
class Report:
    """What is wrong with a file (then there is no list), and what its user should know. No prompt is quoted."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    found: PublicList | None = None


def read_public(path: Path, source: Source) -> PublicList:
    """The list in the file `path`. Raises DataError with the first thing that is wrong, naming file and row."""
    return accepted(examine(read_bytes(path), source, path))


def read_bytes(path: Path) -> bytes:
    """What is in the file. Raises DataError if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"The prompt list {path} cannot be read ({error.strerror}).") from None


def accepted(report: Report) -> PublicList:
    """The list of a report without errors. Raises DataError with the first one, and says how many follow."""
    if report.found is None:
        more = len(report.errors) - 1
        raise DataError(report.errors[0] + (f" (`bench prompts check` shows {more} more.)" if more else ""))
    return report.found


def examine(data: bytes, source: Source, path: Path) -> Report:
    """Check `data`, which the user knows as the file `path`, row by row; all errors are told, in the file's order.

    Errors: another checksum than the declared one, what `tables.read_table` refuses, a declared column that is missing
    or there twice, a column by which it is another list, no rows, a row of another width, a seed, guidance or size out
    of range, another artist, and a quote that swallows lines. Warnings: another number of rows, empty prompts, repeated
    ones, those that stand for a missing value ("NaN"), and prompts of several lines.
    """
    checksum = hashlib.sha256(data).hexdigest()
    if source.sha256 not in (None, checksum):
        published = f"its sha256 is {checksum}, not {source.sha256}"
        return Report((f"{path} is not {source.name} as published ({published}): download it again.",))
    try:
        if source.columns:
            check_commas(
                data, path, {column for listed in SOURCES for called in listed.columns.values() for column in called}
            )
        table = read_table(data, path, headed=bool(source.columns))
        places = _places(table, source, path)
        if not table.rows:
            raise DataError(f"{path} has no prompts; {source.name} has {source.rows}.")
    except DataError as error:
        return Report((str(error),))
    errors, warnings = _counted(table, source, path, places)
    rows = []
    for number, cells in enumerate(table.rows):
        where = f"{path}, row {number + table.first}"
        if len(cells) != len(table.header):
            errors.append(
                f"{where}: {len(cells)} fields where the header has {len(table.header)}; is a comma unquoted?"
            )
            continue
        try:
            rows.append(prompt_of(number, {name: cells[place] for name, place in places.items()}, source))
        except ValueError as error:
            errors.append(f"{where}: {error}.")
    if errors:
        return Report(tuple(errors), tuple(warnings))
    found = PublicList(source, tuple(rows), checksum, table.kind)
    missing = tuple(n for n, row in enumerate(rows) if row.text.strip() and is_missing(row.text))
    if missing:
        warnings.append(f"{path}: {_some(missing, table.first)} what tables write for a missing value, such as NaN.")
    for what, numbers in (("empty", found.empty), ("repeated", found.repeated)):
        if numbers:
            warnings.append(f"{path}: {_some(numbers, table.first)} {what}; the variant `unique` does without.")
    return Report((), tuple(warnings), found)


def _places(table: Table, source: Source, path: Path) -> dict[str, int]:
    """Which column holds which field."""
    if not source.columns:
        _check_lines(table, source, path)
        return {"text": 0}
    places, missing = {}, []
    for name, called in source.columns.items():
        columns = [column for column in called if column in table.header]
        if columns:
            places[name] = table.header.index(columns[0])
            if table.header.count(columns[0]) > 1:
                raise DataError(f"{path}, row 1: the column {columns[0]} is there twice; leave one.")
        elif ONLY in called and len(table.header) == 1:
            if len(table.rows) == source.rows - 1:  # the missing one is what stands in the header's place
                raise DataError(f"{path}, row 1: this is no header; write the line {called[0]} above it.")
            places[name] = 0
        elif name not in source.optional:
            missing.append(called[0])
    if missing:
        fitting = _fitting(table.header)
        hint = f"is it {_or(fitting)}?" if fitting else f"it is not {source.name}, or its header is lost."
        raise DataError(f"{path}, row 1: there is no column {', '.join(missing)}; {hint}")
    _check_about(table, source, path)
    _check_kinds(table, places, path)
    return places


def _check_kinds(table: Table, places: Mapping[str, int], path: Path) -> None:
    """DataError for a column that holds neither text nor, where a number is meant, numbers."""
    for name, place in places.items():
        kind = table.kinds.get(table.header[place], "")
        if kind and not (kind == NUMBERS and name in _NUMBERS):
            wanted = "numbers or text" if name in _NUMBERS else "text"
            column = "its only column" if len(table.header) == 1 else f"the column {table.header[place]}"
            raise DataError(f"{path}: {column} holds {kind}; save it as {wanted}.")


def _check_about(table: Table, source: Source, path: Path) -> None:
    """DataError for a file that has all columns of `source` and yet is another list, by a column that says so."""
    about = {called for one in SOURCES for name in _ABOUT for called in one.columns.get(name, ())}
    about -= {called for name in _ABOUT for called in source.columns.get(name, ())}
    told, fitting = [column for column in table.header if column in about], _fitting(table.header)
    if told and fitting and source.name not in fitting:
        raise DataError(
            f"{path}, row 1: there is a column {told[0]}, which {source.name} does not have; is it {_or(fitting)}?"
        )


def _check_lines(table: Table, source: Source, path: Path) -> None:
    """DataError for what is read as lines, since it has no header, and is none of a list."""
    if table.header != LINES:
        raise DataError(f"{path} is a {table.kind} file; {source.name} is text with one prompt a line.")
    if len(table.rows) == 1 < source.rows:
        raise DataError(
            f"{path} is a single line, such as an answer instead of the file: download {source.name} again."
        )
    first = table.rows[0][0] if table.rows else ""
    if fitting := _fitting(tuple(cell.strip('" ') for cell in first.split(","))):
        raise DataError(f"{path}, row 1: this is a header, and {source.name} has none; is it {_or(fitting)}?")


def _fitting(header: tuple[str, ...]) -> list[str]:
    """The lists whose columns the header has, those with most columns."""
    fitting: dict[int, list[str]] = {}
    for source in SOURCES:
        matched = {name for name, called in source.columns.items() if set(called) & set(header)}
        if len(matched) == 1 < len(header) and "prompt" in header:
            continue  # any file of prompts has this column: it says nothing about which list it is
        if matched and matched >= source.columns.keys() - set(source.optional):
            fitting.setdefault(len(matched), []).append(source.name)
    return fitting[max(fitting)] if fitting else []


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)


def _counted(table: Table, source: Source, path: Path, places: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Errors and warnings about how many rows there are, and how many lines they take.

    A row over several lines is the work of an open quote where rows are missing and its lines look like rows, or cannot
    be told from them; else its prompt is written so.
    """
    count, errors, warnings = len(table.rows), [], []
    for row, first, last in table.spans:
        span = f"{path}, row {row}: it runs from line {first} to line {last}"
        if count == source.rows:
            warnings.append(f"{span}; no row is missing, so its text has line ends.")
        elif row < table.first or any(
            _holds_rows(table, cells, places) for cells in table.rows[row - table.first :][:1]
        ):
            errors.append(f"{span}, and there are {count} rows, not {source.rows}: is a quote left open?")
        else:
            warnings.append(f"{span}; none of them looks like a row, so its text has line ends.")
    if count != source.rows and not errors:
        warnings.append(f"{path} has {count} rows; {source.name} was published with {source.rows}.")
    return errors, warnings if not errors else []


def _holds_rows(table: Table, row: Sequence[str], places: Mapping[str, int]) -> bool:
    """Whether a line inside a cell is a row, or what an open quote leaves of one: its numbers are in their places.

    Rows without numbers cannot be told from text, and count as held.
    """
    numbers = {places[name] for name in ("seed", "guidance", "width", "height") if name in places}
    if not numbers:
        return True
    for column, cell in enumerate(row):
        lines = cell.splitlines()
        for k, line in enumerate(lines if len(lines) > 1 else ()):
            start, end = column if k == 0 else 0, column + 1 if k == len(lines) - 1 else len(table.header)
            cells = next(csv.reader([line]), [])
            if len(cells) != end - start:
                continue
            inside = [cells[place - start].strip() for place in numbers if start <= place < end]
            if inside and all(re.fullmatch(r"[-+0-9.eE]*", text) for text in inside):
                return True
    return False


def _some(numbers: Sequence[int], first: int) -> str:
    """Rows by number as people count, the first few: "2 prompts (rows 3, 7) are"."""
    named = ", ".join(str(number + first) for number in numbers[:_NAMED]) + (", …" if len(numbers) > _NAMED else "")
    if len(numbers) == 1:
        return f"1 prompt (row {named}) is"
    return f"{len(numbers)} prompts (rows {named}) are"
