"""The bytes of a file as rows of text: CSV, lines without a header, Parquet. What cannot be read is said with its row.

No message quotes the file, not even its header: without one, that is a prompt, and those may be offensive.
"""

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.errors import DataError
from prompts.parquet import read_parquet

NUMBERS = "numbers"
"""The kind of a Parquet column of integers, floats or decimals."""
MISSING = ("nan", "none", "null", "<na>")
"""What pandas and databases write where a value is missing, in lower case."""
COMPRESSED = (
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"BZh91AY&SY",
    b"\xfd7zXZ\x00",
    b"(\xb5/\xfd",
    b"7z\xbc\xaf",
    b"Rar!\x1a",
)
"""How gzip, zip, bzip2, xz, Zstandard, 7z and rar begin."""
OTHER_FORMS = {
    b"%PDF-": "a PDF",
    b"SQLite format 3\x00": "an SQLite database",
    b"ARROW1": "an Arrow (Feather) file",
    b"\x93NUMPY": "a NumPy file",
    b"\x80\x04": "a Python pickle",
}
"""How further forms in which people have tables begin."""
LINES = ("text",)
"""The header given to lines that have none."""


@dataclass(frozen=True)
class Table:
    """Header and rows, all text; a missing value is empty. Rows may differ in length from the header."""

    kind: str  # "csv", "txt" or "parquet"
    header: tuple[str, ...]
    rows: list[list[str]]
    first: int  # number of the first row as people count: a header is row 1
    spans: tuple[tuple[int, int, int], ...] = ()  # rows that run over several lines: row, first and last line
    kinds: Mapping[str, str] = field(default_factory=dict)  # columns that are no text: NUMBERS, or what they hold


def is_missing(text: str) -> bool:
    """Whether a cell stands for a missing value: it is blank, or what tables write there ("NaN")."""
    return not text.strip() or text.strip().casefold() in MISSING


def check_commas(data: bytes, path: Path, expected_columns: Collection[str]) -> None:
    """DataError for a header that is separated by something else than commas, as spreadsheets of many countries do.

    A header is one if any of its columns is among `expected_columns`.
    """
    header = data.partition(b"\n")[0].decode("utf-8-sig", "replace")
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        columns = [column.strip('" \r') for column in header.split(mark)]
        if len(columns) > 1 and "," not in header and not set(columns).isdisjoint(expected_columns):
            raise DataError(f"{path}, row 1: its columns are separated by {name}; save it with commas.")


def read_table(data: bytes, path: Path, headed: bool) -> Table:
    """`data` by what it is: Parquet by its mark, else UTF-8 text, CSV if `headed` and one prompt a line if not.

    Raises DataError naming `path`, and the row where there is one, for a compressed file, a spreadsheet, JSON, a web
    page or a Git LFS pointer in place of the list, text that is not UTF-8, and what is not CSV or Parquet after all.
    """
    if data.startswith(b"PAR1"):
        return _parquet(data, path)
    _refuse_other_forms(data, path)
    start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"version https://git-lfs")):
        raise DataError(f"{path} is not the list but a web page or a pointer to it: download the file itself.")
    try:
        text = data.decode("utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, row {row}: not UTF-8 (byte {error.start}); save it as UTF-8.") from None
    return _csv(text, path) if headed else _lines(text)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """`header` and `rows` as CSV with line ends of one character, the same on every system."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _refuse_other_forms(data: bytes, path: Path) -> None:
    """DataError, saying what to do, for a file whose first bytes show that it is of another form."""
    if _is_spreadsheet(data):
        raise DataError(f"{path} is a spreadsheet: save it as CSV.")
    if data.startswith(COMPRESSED) or data[257:262] == b"ustar":
        raise DataError(f"{path} is compressed: unpack it first.")
    for mark, form in OTHER_FORMS.items():
        if data.startswith(mark):
            raise DataError(f"{path} is {form}: save it as CSV.")
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"{", b"[")):
        if isinstance(_json(text.partition(b"\n")[0]), dict) and b"\n" in text.rstrip():
            raise DataError(f"{path} is JSON lines: save it as CSV.")
        if isinstance(_json(text), dict | list):
            raise DataError(f"{path} is JSON: save it as CSV.")


def _is_spreadsheet(data: bytes) -> bool:
    """Whether these are the bytes of a workbook: old Excel, or a zip with a workbook's parts in it."""
    if data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return True
    if not data.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            kind = archive.read("mimetype") if "mimetype" in names else b""
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, zlib.error):
        return False  # a damaged or encrypted zip, which is told to be compressed
    excel_or_numbers = any(name.startswith("xl/") or name in ("Index.zip", "Index/Document.iwa") for name in names)
    return excel_or_numbers or b"opendocument.spreadsheet" in kind


def _json(text: bytes) -> object:
    """What the text holds as JSON; None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _csv(text: str, path: Path) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    spans, line = [], 0
    try:
        for row in reader:
            rows.append(row)
            if reader.line_num > line + 1:
                spans.append((len(rows), line + 1, reader.line_num))
            line = reader.line_num
    except csv.Error as error:
        raise DataError(
            f"{path}, row {len(rows) + 1}: not CSV from line {line + 1} on ({error}); is a quote left open?"
        ) from None
    while rows and not any(cell.strip() for cell in rows[-1]):  # editors end files with blank lines
        rows.pop()
    if not rows:
        raise DataError(f"{path} is empty; its first row must be a header.")
    return Table("csv", tuple(rows[0]), rows[1:], 2, tuple(spans))


def _lines(text: str) -> Table:
    """Raw lines: quotes mean nothing, and only what Python's own `readlines` ends a line at ends one."""
    rows = [[line.rstrip("\n")] for line in io.StringIO(text, newline=None)]
    while rows and not rows[-1][0].strip():
        rows.pop()
    return Table("txt", LINES, rows, 1)


def _parquet(data: bytes, path: Path) -> Table:
    import pyarrow  # heavy

    try:
        table = read_parquet(data)
        columns, kinds = [], dict[str, str]()
        for name, column in zip(table.column_names, table.columns, strict=True):
            cells, kind = _cells(column)
            columns.append(cells)
            if kind:
                kinds[name] = kind
    except (pyarrow.ArrowException, OSError, ValueError):
        raise DataError(f"{path} begins as a Parquet file but cannot be read as one: download it again.") from None
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Table("parquet", tuple(table.column_names), rows, 1, kinds=kinds)


def _cells(column: Any) -> tuple[list[str], str]:
    """A Parquet column as text, and its kind; the kind of text is empty.

    Bytes are text if they are UTF-8: Spark and Impala write text without the mark that says so. Cells of a column that
    holds neither text nor numbers are left empty.
    """
    from pyarrow import types

    data_type = column.type.value_type if types.is_dictionary(column.type) else column.type
    kind = str(data_type)
    if types.is_integer(data_type) or types.is_floating(data_type) or types.is_decimal(data_type):
        kind = NUMBERS
    elif (
        types.is_null(data_type)
        or types.is_string(data_type)
        or types.is_large_string(data_type)
        or types.is_string_view(data_type)
    ):
        kind = ""
    elif types.is_binary(data_type) or types.is_large_binary(data_type) or types.is_binary_view(data_type):
        try:
            return ["" if cell is None else cell.decode() for cell in column.to_pylist()], ""
        except UnicodeDecodeError:
            kind = "bytes that are not UTF-8"
    if kind not in ("", NUMBERS):
        return [""] * len(column), kind
    return ["" if cell is None else str(cell) for cell in column.to_pylist()], kind
