"""Reads a folder of pictures that exist already: `prompts.csv`, and the PNG, JPEG and WebP files that it lists."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from benchmark.errors import DataError
from benchmark.models.picture_values import as_rgb
from prompts.tables import check_commas, read_table

if TYPE_CHECKING:
    from torch import Tensor

    from prompts.lists import Prompt


LIST = "prompts.csv"
COLUMNS = ("id", "file")
"""Columns that the list must have. A column `text` is compared with the suite's prompts; all others are ignored."""
LARGEST = 1 << 28
"""Largest size of a picture's file in bytes."""
FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class ListedPicture:
    """A row of the list."""

    row: int
    """Number of the row; the header is row 1."""
    path: Path
    text: str | None
    """The prompt's text; None if the list has no column `text`."""


def read_list(folder: Path) -> dict[str, ListedPicture]:
    """Read `prompts.csv` of a folder. Returns its rows by prompt id; the files are not opened.

    Raises:
        DataError: the list does not exist or is not a CSV file with the columns `id` and `file`, an id or a file is
            empty or repeated, or a path is absolute or contains `..`. The message names the row.
    """
    path = folder / LIST
    if not folder.is_dir():
        raise DataError(f"The folder of pictures {folder} does not exist, or is a file: give a folder.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({(error.strerror or 'unknown error').lower()}): --images needs a folder with a "
            f"CSV file {LIST} that has the columns {' and '.join(COLUMNS)}; `bench prompts write` creates one."
        ) from error
    check_commas(data, path, COLUMNS)
    table = read_table(data, path, headed=True)
    header = [name.strip() for name in table.header]
    if any(header.count(name) != 1 for name in COLUMNS) or header.count("text") > 1:
        raise DataError(
            f"{path}, row 1: the columns are {', '.join(header)}; they must include id and file, once each."
        )
    pictures: dict[str, ListedPicture] = {}
    rows_by_path: dict[Path, int] = {}
    for number, row in enumerate(table.rows, table.first):
        where = f"{path}, row {number}"
        if len(row) != len(header):
            raise DataError(f"{where}: {len(row)} fields, but the header has {len(header)}; quote texts with commas.")
        cells = dict(zip(header, row, strict=True))
        prompt_id, file = cells["id"].strip(), _inside(folder, cells["file"].strip(), where)
        if not prompt_id:
            raise DataError(f"{where}: the id is empty.")
        if prompt_id in pictures:
            raise DataError(f"{where}: the id {prompt_id!r} is already used in row {pictures[prompt_id].row}.")
        if file in rows_by_path:
            raise DataError(f"{where}: the file {cells['file']!r} is already used in row {rows_by_path[file]}.")
        rows_by_path[file] = number
        pictures[prompt_id] = ListedPicture(number, file, cells.get("text"))
    return pictures


def _inside(folder: Path, file: str, where: str) -> Path:
    """Return the path of a listed file. DataError if it is empty, absolute, or leads out of the folder."""
    parts = PurePosixPath(file).parts
    if not parts or file.endswith("/"):
        raise DataError(f"{where}: the file is empty or a folder: give the path of a picture relative to {folder}.")
    is_absolute = PurePosixPath(file).is_absolute() or PureWindowsPath(file).is_absolute() or file.startswith("~")
    if is_absolute or ".." in (*parts, *PureWindowsPath(file).parts):
        raise DataError(
            f"{where}: the file {file!r} must be in {folder}: give a relative path without '..', such as a/0001.png."
        )
    return folder.joinpath(*parts)


def check_prompts(folder: Path, pictures: Mapping[str, ListedPicture], suite: str, prompts: Sequence[Prompt]) -> None:
    """Check that the list has a picture for every prompt of a suite, and the same text where it states texts.

    Raises:
        DataError: a picture is missing, or a text differs from the suite's.
    """
    missing = [prompt.id for prompt in prompts if prompt.id not in pictures]
    if missing:
        raise DataError(
            f"{folder / LIST} has no picture for {len(missing):,} of the {len(prompts):,} prompts of suite '{suite}', "
            f"such as {missing[0]!r}: add them, leave suites out with --alone, or score fewer prompts with --limit; "
            "`bench prompts write` lists the prompts."
        )
    for prompt in prompts:
        listed = pictures[prompt.id]
        if listed.text is not None and listed.text.strip() != prompt.text.strip():
            raise DataError(
                f"{folder / LIST}, row {listed.row}: the text of {prompt.id!r} is not that of suite '{suite}' on this "
                "testbed with these targets: write the list again with `bench prompts write`, and generate its "
                "pictures."
            )


def read_bytes(path: Path) -> bytes:
    """Return the content of a listed file. DataError if it cannot be read."""
    try:
        if not path.is_file():
            raise DataError(f"The picture {path} does not exist or is not a regular file.")
        if (size := path.stat().st_size) > LARGEST:
            raise DataError(
                f"The picture {path} has {size:,} bytes, and at most {LARGEST:,} are read: save it again as PNG."
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"The picture {path} cannot be read ({(error.strerror or 'unknown error').lower()})."
        ) from error


def decode(data: bytes, path: Path, size: int) -> Tensor:
    """Decode a PNG, JPEG or WebP file to uint8 (3, size, size).

    The size is compared before pixels are decoded, so a small file cannot fill the memory.

    Raises:
        DataError: the file is damaged, has a different format or size, or would change when converted to 8-bit RGB.
    """
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    with _explained(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked below
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    if picture.size != (size, size):
        raise DataError(
            f"The picture {path} has {picture.width} x {picture.height} pixels, but this testbed's have {size} x "
            f"{size}: generate them at this size."
        )
    with _explained(path):
        picture.load()
    try:
        rgb = as_rgb(picture)
    except DataError as error:
        raise DataError(f"The picture {path} is {error}.") from None
    with _explained(path):
        rgb = ImageOps.exif_transpose(rgb)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Convert Pillow's errors of the block to a DataError that names the picture."""
    from PIL import Image

    try:
        yield
    except Image.UnidentifiedImageError:
        raise DataError(f"The picture {path} is damaged, or not a PNG, JPEG or WebP file.") from None
    except Image.DecompressionBombError:
        raise DataError(f"The picture {path} has more pixels than Pillow decodes: generate it again.") from None
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, struct.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"The picture {path} is damaged ({reason}): generate or copy it again.") from error


def sha256(data: bytes) -> str:
    """Return the hexadecimal SHA-256 checksum."""
    return hashlib.sha256(data).hexdigest()
