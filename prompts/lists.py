"""Reads and writes prompt lists: CSV files with a header and one prompt per row, each with a seed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from benchmark.errors import DataError, has_controls
from prompts.tables import check_commas, csv_text, is_missing, read_table

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Prompt:
    """One prompt of a suite."""

    id: str  # unique in its list
    text: str  # what the text encoder reads
    seed: int  # seed of the image's noise, 0 to 2**63 - 1
    # targets: names an artist to forget; neighbours and kept: name similar and other artists to preserve; implicit:
    # implies a target without a name; probes: names a target in a different way; retention: names no artist.
    part: str
    target: str = ""  # the concept that it names, if any
    content: str = ""  # the content of the picture besides the style, if it is known
    # For probes: how they name the target, such as "misspelt". A form is left out if the base does not understand it.
    form: str = ""


COLUMNS = tuple(field.name for field in fields(Prompt))
REQUIRED = COLUMNS[:4]
NAMES = ("part", "target", "content")
"""Columns whose cells are compared with names: a space at the end would make a different name."""


def read_prompts(path: Path) -> list[Prompt]:
    """Read the prompts of a UTF-8 CSV file, in the order of the file.

    The columns `target`, `content` and `form` may be missing. In names (part, target, content), spaces at both ends are
    removed, and repeated spaces become one.

    Raises:
        DataError: the file does not exist or is not UTF-8, its columns are wrong, a row has too few or too many fields,
            an id, text or part is empty, a text is a missing value ("NaN"), an id is repeated, or a seed is not an
            integer from 0 to 2**63 - 1. The message names the file and the row; the header is row 1.
    """
    rows = _rows(Path(path))
    header = rows[0]
    missing = [name for name in REQUIRED if name not in header]
    foreign = [name for name in header if name not in COLUMNS]
    if missing or foreign or len(set(header)) < len(header):
        raise DataError(f"{path}, row 1: {_header_problem(header, missing, foreign)}.")
    if len(rows) == 1:
        raise DataError(f"{path} has a header but no prompts.")
    prompts: list[Prompt] = []
    first_row: dict[str, int] = {}
    for number, row in enumerate(rows[1:], start=2):
        where = f"{path}, row {number}"
        if len(row) != len(header):
            raise DataError(
                f"{where}: {len(row)} fields, but the header has {len(header)}; quote texts that contain commas."
            )
        cells = dict(zip(header, row, strict=True))
        for name in ("id", "text", "part"):
            if not cells[name].strip():
                raise DataError(f"{where}: the {name} is empty.")
        for name in (*NAMES, "id", "form"):
            if has_controls(cells.get(name, "")):
                raise DataError(f"{where}: the {name} contains a control character: remove the character.")
        if is_missing(cells["text"]):
            raise DataError(
                f"{where}: the text is {cells['text']!r}, which means a missing value; write a text or remove the row."
            )
        cells |= {name: " ".join(cells[name].split()) for name in NAMES if name in cells}
        if cells["id"] in first_row:
            raise DataError(f"{where}: the id {cells['id']!r} is already used in row {first_row[cells['id']]}.")
        first_row[cells["id"]] = number
        prompts.append(Prompt(seed=_seed(cells.pop("seed"), where), **cells))
    return prompts


def _header_problem(header: Sequence[str], missing: Sequence[str], foreign: Sequence[str]) -> str:
    """Return what is wrong with the columns, and which are required and optional."""
    repeated = sorted({name for name in header if list(header).count(name) > 1})
    problems = [
        f"the column{'s' * (len(names) > 1)} {' and '.join(map(repr, names))} {text[len(names) > 1]}"
        for names, text in (
            (missing, ("is missing", "are missing")),
            (foreign, ("is unknown", "are unknown")),
            (repeated, ("is there twice", "are there twice")),
        )
        if names
    ]
    optional = ", ".join(COLUMNS[len(REQUIRED) :])
    return f"{', and '.join(problems)}; required are {', '.join(REQUIRED)}, optional are {optional}"


def write_prompts(path: Path, prompts: Sequence[Prompt]) -> None:
    """Write prompts to a CSV file for `read_prompts`, without optional columns that are empty for all prompts."""
    columns = [name for name in COLUMNS if name in REQUIRED or any(getattr(p, name) for p in prompts)]
    rows = [[getattr(prompt, name) for name in columns] for prompt in prompts]
    path.write_text(csv_text(columns, rows), encoding="utf-8", newline="")


def _rows(path: Path) -> list[list[str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"The prompt list {path} cannot be read ({error.strerror}): give a CSV file.") from error
    check_commas(data, path, COLUMNS)
    table = read_table(data, path, headed=True)
    return [list(table.header), *table.rows]


def _seed(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST_SEED):
        raise DataError(f"{where}: the seed {text!r} is not an integer from 0 to 2**63 - 1.")
    return int(text)
