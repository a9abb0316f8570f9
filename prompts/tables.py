"""Reads the bytes of a table as rows of text: CSV, Parquet, or lines without a header.

Error messages state the row. They never quote the file, not even its header: if the header is missing, the first row is
a prompt, which may be offensive.
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
from prompts.parquet import TooLarge, read_parquet

NUMBERS = "numbers"
"""Kind of a Parquet column of integers, floats or decimals."""
MISSING = ("nan", "none", "null", "<na>")
"""Texts that pandas and databases write for a missing value, in lower case."""
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
"""First bytes of gzip, zip, bzip2, xz, Zstandard, 7z and rar files."""
OTHER_FORMS = {
    b"%PDF-": "a PDF",
    b"SQLite format 3\x00": "an SQLite database",
    b"ARROW1": "an Arrow (Feather) file",
    b"\x93NUMPY": "a NumPy file",
    b"\x80\x04": "a Python pickle",
}
"""First bytes of other file formats that may contain tables, and their names."""
LINES = ("text",)
"""Header of a table that is read from lines without a header."""


@dataclass(frozen=True)
class Table:
    """Header and rows of a table as text. A missing value is empty. Rows may differ in length from the header."""

    kind: str  # "csv", "txt" or "parquet"
    header: tuple[str, ...]
    rows: list[list[str]]
    first: int  # number of the first row for messages; the header is row 1
    spans: tuple[tuple[int, int, int], ...] = ()  # rows with several lines: row number, first and last line
    kinds: Mapping[str, str] = field(default_factory=dict)  # columns that are not text: NUMBERS, or a description


def is_missing(text: str) -> bool:
    """Return whether a cell represents a missing value: it is blank or one of MISSING, such as "NaN"."""
    return not text.strip() or text.strip().casefold() in MISSING


def check_commas(data: bytes, path: Path, expected_columns: Collection[str]) -> None:
    """Raise DataError for a header whose columns are not separated by commas, as in spreadsheets of many countries.

    The first line counts as a header if any of its columns is among `expected_columns`.
    """
    header = data.partition(b"\n")[0].decode("utf-8-sig", "replace")
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        columns = [column.strip('" \r') for column in header.split(mark)]
        if len(columns) > 1 and "," not in header and not set(columns).isdisjoint(expected_columns):
            raise DataError(f"{path}, row 1: its columns are separated by {name}: save the file with commas.")


def read_table(data: bytes, path: Path, headed: bool) -> Table:
    """Read a table from the content of a file.

    The format is recognised by the content: Parquet by its first bytes, otherwise UTF-8 text.

    Args:
        data: content of the file.
        path: its path, for error messages.
        headed: whether text is CSV with a header; otherwise each line is a prompt.

    Raises DataError with `path`, and the row if there is one, for a compressed file, a spreadsheet, JSON, a web page or
    a Git LFS pointer instead of the list, text that is not UTF-8, and invalid CSV or Parquet.
    """
    if data.startswith(b"PAR1"):
        return _parquet(data, path)
    _refuse_other_formats(data, path)
    start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"version https://git-lfs")):
        raise DataError(f"{path} is a web page or a Git LFS pointer instead of the list: download the file itself.")
    try:
        text = data.decode("utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, row {row}: the text is not UTF-8 (byte {error.start}): save the file as UTF-8."
        ) from None
    return _csv(text, path) if headed else _lines(text)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return `header` and `rows` as CSV text. Lines end with a line feed on all systems."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _refuse_other_formats(data: bytes, path: Path) -> None:
    """Raise DataError for a file whose first bytes show that it has a different format."""
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
    """Return whether `data` is a spreadsheet: an old Excel file, or a zip archive with the parts of a workbook."""
    if data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return True
    if not data.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            kind = archive.read("mimetype") if "mimetype" in names else b""
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, zlib.error):
        return False  # a damaged or encrypted zip file is reported as compressed
    excel_or_numbers = any(name.startswith("xl/") or name in ("Index.zip", "Index/Document.iwa") for name in names)
    return excel_or_numbers or b"opendocument.spreadsheet" in kind


def _json(text: bytes) -> object:
    """Return the value of JSON text; None if it is not JSON."""
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
            f"{path}, row {len(rows) + 1}: not valid CSV from line {line + 1} on ({error}): is a quote unclosed?"
        ) from None
    while rows and not any(cell.strip() for cell in rows[-1]):  # editors end files with blank lines
        rows.pop()
    if not rows:
        raise DataError(f"{path} is empty: its first row must be a header.")
    return Table("csv", tuple(rows[0]), rows[1:], 2, tuple(spans))


def _lines(text: str) -> Table:
    """Return the lines of a text without a header. Quotes have no meaning. Lines end as for Python's `readlines`."""
    rows = [[line.rstrip("\n")] for line in io.StringIO(text, newline=None)]
    while rows and not rows[-1][0].strip():
        rows.pop()
    return Table("txt", LINES, rows, 1)


def _parquet(data: bytes, path: Path) -> Table:
    import pyarrow  # slow to import

    try:
        table = read_parquet(data)
        columns, kinds = [], dict[str, str]()
        for name, column in zip(table.column_names, table.columns, strict=True):
            cells, kind = _cells(column)
            columns.append(cells)
            if kind:
                kinds[name] = kind
    except TooLarge as error:
        raise DataError(f"{path} is too large ({error}): give only the rows and columns of the list.") from None
    except (pyarrow.ArrowException, OSError, ValueError):
        raise DataError(f"{path} begins like a Parquet file but cannot be read as one: download it again.") from None
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Table("parquet", tuple(table.column_names), rows, 1, kinds=kinds)


def _cells(column: Any) -> tuple[list[str], str]:
    """Return the cells of a Parquet column as text, and the kind of the column, which is empty for text.

    Bytes are read as text if they are UTF-8, because Spark and Impala do not mark text columns as text. Cells of a
    column that contains neither text nor numbers are empty.
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
