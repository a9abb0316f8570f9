"""Prompt lists: CSV files with a header, one prompt a row, each with its own seed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from benchmark.errors import DataError
from prompts.tables import check_commas, csv_text, is_missing, read_table

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Prompt:
    """One prompt of a suite."""

    id: str  # unique in its list
    text: str  # what the text encoder reads
    seed: int  # of the image's noise, 0 to 2**63 - 1
    part: str  # "targets", "neighbours", "kept", "implicit", "probes", "retention"
    target: str = ""  # the concept it asks for, where it asks for one
    content: str = ""  # what is to be seen beside the style, where that is known
    form: str = ""  # of a probe: how it asks, such as "misspelt"; probes of one form are scored or left out together


COLUMNS = tuple(field.name for field in fields(Prompt))
REQUIRED = COLUMNS[:4]
NAMES = ("part", "target", "content")
"""Columns whose cells are compared with each other: a blank at an end would make another painter."""


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a UTF-8 CSV file in its order; the columns `target`, `content` and `form` may be missing.

    Raises DataError naming file and row (the header is row 1) for a missing file, another encoding, wrong columns, a
    row of another width, an empty id, prompt or part, a prompt that stands for a missing value ("NaN"), a repeated id,
    and a seed that is no integer in 0..2**63 - 1. Blanks around and in names (part, target, content) are made one.
    """
    rows = _rows(Path(path))
    header = rows[0]
    missing = [name for name in REQUIRED if name not in header]
    foreign = [name for name in header if name not in COLUMNS]
    if missing or foreign or len(set(header)) < len(header):
        raise DataError(f"{path}, row 1: the columns are {', '.join(header)}; they must be {', '.join(COLUMNS)}.")
    if len(rows) == 1:
        raise DataError(f"{path} has a header but no prompts.")
    prompts: list[Prompt] = []
    first_row: dict[str, int] = {}
    for number, row in enumerate(rows[1:], start=2):
        where = f"{path}, row {number}"
        if len(row) != len(header):
            raise DataError(f"{where}: {len(row)} fields where the header has {len(header)}; is a comma unquoted?")
        cells = dict(zip(header, row, strict=True))
        for name in ("id", "text", "part"):
            if not cells[name].strip():
                raise DataError(f"{where}: the {name} is empty.")
        if is_missing(cells["text"]):
            raise DataError(f"{where}: the text is {cells['text']!r}, a missing value; fill or remove the row.")
        cells |= {name: " ".join(cells[name].split()) for name in NAMES if name in cells}
        if cells["id"] in first_row:
            raise DataError(f"{where}: the id {cells['id']!r} is that of row {first_row[cells['id']]} already.")
        first_row[cells["id"]] = number
        prompts.append(Prompt(seed=_seed(cells.pop("seed"), where), **cells))
    return prompts


def write_prompts(path: Path, prompts: Sequence[Prompt]) -> None:
    """Write `prompts` as `read_prompts` reads them; optional columns that are empty throughout are left out."""
    columns = [name for name in COLUMNS if name in REQUIRED or any(getattr(p, name) for p in prompts)]
    rows = [[getattr(prompt, name) for name in columns] for prompt in prompts]
    path.write_text(csv_text(columns, rows), encoding="utf-8", newline="")


def _rows(path: Path) -> list[list[str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"The prompt list {path} cannot be read ({error.strerror}).") from error
    check_commas(data, path, COLUMNS)
    table = read_table(data, path, headed=True)
    return [list(table.header), *table.rows]


def _seed(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST_SEED):
        raise DataError(f"{where}: the seed {text!r} is not an integer from 0 to 2**63 - 1.")
    return int(text)
