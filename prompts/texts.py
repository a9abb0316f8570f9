"""Reads prompts that a user names in a command: texts separated by semicolons, or a file of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import DataError, UsageError
from prompts.lists import LARGEST_SEED
from prompts.tables import LINES, Table, is_missing, read_table

SUFFIXES = (".csv", ".txt", ".parquet")
TEXT_COLUMNS = ("text", "prompt")
"""Columns of a CSV or Parquet file that can hold the prompts; the first that the file has is read."""


@dataclass(frozen=True)
class GivenPrompt:
    """A prompt as a user gave it."""

    text: str
    seed: int | None = None
    """Seed of the noise; None if the file has no column `seed`."""
    part: str = ""
    """Part of the suite, such as "targets" or "kept"; empty if the file has no column `part`."""


def split_texts(text: str) -> list[GivenPrompt]:
    """Split texts that are separated by semicolons: "a boat; a tree" gives two prompts.

    Raises:
        UsageError: a text is empty.
    """
    texts = [part.strip() for part in text.split(";")]
    if len(texts) > 1 and not texts[-1]:  # a semicolon at the end
        texts.pop()
    if not all(texts):
        raise UsageError(f"--prompts '{text}' contains an empty prompt: write \"a;b\".")
    return [GivenPrompt(prompt) for prompt in texts]


def read_texts(path: Path) -> list[GivenPrompt]:
    """Read the prompts of a file, in its order.

    A .txt file has one prompt per line. A CSV or Parquet file has a column `text` (or `prompt`) and optionally `seed`
    and `part`, such as a file that `bench prompts write` wrote; all other columns are ignored.

    Raises:
        DataError: the file cannot be read, has no prompts, no column of prompts, an empty prompt, a wrong seed, or a
            row of the wrong length. The message names the file and the row.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"The prompts in {path} cannot be read ({(error.strerror or 'error').lower()}).") from error
    table = read_table(data, path, headed=path.suffix.lower() != ".txt")
    column = next((name for name in (LINES if table.kind == "txt" else TEXT_COLUMNS) if name in table.header), None)
    if column is None:
        raise DataError(
            f"{path}, row 1: no column is named {' or '.join(TEXT_COLUMNS)}: name the column of prompts so, or give a "
            ".txt file with one prompt per line."
        )
    rows = [(number, row) for number, row in enumerate(table.rows, start=table.first) if any(map(str.strip, row))]
    if not rows:
        raise DataError(f"{path} has no prompts.")
    return [_prompt(table, column, row, f"{path}, row {number}") for number, row in rows]


def _prompt(table: Table, column: str, row: Sequence[str], where: str) -> GivenPrompt:
    if len(row) != len(table.header):
        raise DataError(
            f"{where}: {len(row)} fields, but the header has {len(table.header)}; quote texts that contain commas."
        )
    cells = dict(zip(table.header, row, strict=True))
    if is_missing(cells[column]):
        raise DataError(f"{where}: the prompt is empty or a missing value; write a text or remove the row.")
    seed = None
    if "seed" in cells:
        number = cells["seed"].strip()
        if not (number.isascii() and number.isdigit() and len(number) < 25 and int(number) <= LARGEST_SEED):
            raise DataError(f"{where}: the seed is not an integer from 0 to 2**63 - 1.")
        seed = int(number)
    return GivenPrompt(" ".join(cells[column].split()), seed, cells.get("part", "").strip())
