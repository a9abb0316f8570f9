"""Reads captioned pictures from a folder in one of two layouts. Imports no torch.

    COCO             annotations/captions_train2017.json and captions_val2017.json; pictures in images/train2017,
                     train2017, images/ or the folder itself (the same for val)
    user-provided    train/metadata.csv (or .jsonl) with the columns file_name and text, next to the pictures; the
                     same for val/

Errors name the position of a value that is not a string (a null, a number). In user-provided tables, rows with a wrong
number of fields, and values that are empty or mark a missing value ("NaN"), are errors too.

Models are fine-tuned on the train pictures (the retain set D_f); FID compares with the val pictures.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmark.errors import DataError
from benchmark.store.listing import visible
from prompts.tables import check_commas, is_missing, read_table

Side = Literal["train", "val"]
OWN = ("file_name", "text")
"""Required columns of a user-provided table; further columns are ignored."""


@dataclass(frozen=True)
class Split:
    """The pictures and captions of the train or val set."""

    files: tuple[Path, ...]
    """Picture files, sorted by number."""
    numbers: tuple[int, ...]
    """Number of each picture: its id in COCO, or its position in a user-provided table."""
    captions: tuple[tuple[int, str], ...]
    """(index into `files`, caption), sorted by annotation id."""
    sha256: str
    """Checksum of the annotation file."""

    def one_each(self) -> list[tuple[int, str]]:
        """Return (number, first caption) of each captioned picture. The first caption has the lowest annotation id."""
        return [(self.numbers[place], text) for place, text in self._first_captions()]

    def spread(self, count: int) -> Split:
        """Return at most `count` captioned pictures, evenly spread over all, each with its first caption."""
        first = self._first_captions()
        some = [first[k * len(first) // count] for k in range(count)] if len(first) > count else first
        return replace(
            self,
            files=tuple(self.files[place] for place, _ in some),
            numbers=tuple(self.numbers[place] for place, _ in some),
            captions=tuple((k, text) for k, (_, text) in enumerate(some)),
        )

    def _first_captions(self) -> list[tuple[int, str]]:
        """Return (index into `files`, first caption) of each captioned picture, in order."""
        first: dict[int, str] = {}
        for place, text in self.captions:
            first.setdefault(place, text)
        return sorted(first.items())


def annotation_file(folder: Path, side: Side) -> Path:
    """Return the file with the captions of the train or val pictures.

    Raises:
        DataError: if the folder has no such file, or several.
    """
    if not folder.is_dir():
        raise DataError(
            f"The folder {folder} with captioned pictures does not exist: unpack COCO 2017 there (annotations and "
            'images), or write captions = "<folder>" into your own testbed file (like = "sd21").'
        )
    patterns = (f"annotations/captions_{side}*.json", f"{side}/metadata.csv", f"{side}/metadata.jsonl")
    files = [file for pattern in patterns for file in visible(folder, pattern)]
    if len(files) > 1:
        names = ", ".join(str(file.relative_to(folder)) for file in files)
        raise DataError(
            f"{folder} has several files of {side} captions ({names}): keep only one of them in this folder."
        )
    if files:
        return files[0]
    raise DataError(
        f"{folder} has neither annotations/captions_{side}*.json (COCO) nor {side}/metadata.csv or .jsonl "
        "(file_name, text): it is not a folder of captioned pictures."
    )


def read_split(folder: Path, side: Side) -> Split:
    """Read the captions of the train or val pictures of a folder, and check that all pictures exist.

    Raises:
        DataError: if the table is invalid, has no captions, or names a picture that does not exist.
    """
    annotations = annotation_file(folder, side)
    split = _read_coco(folder, annotations) if annotations.suffix == ".json" else _read_table(annotations)
    if not split.captions:
        raise DataError(f"{annotations} has no captions.")
    _check_exist(split.files, annotations)
    return split


def count_pictures(annotations: Path) -> int:
    """Count the pictures that an `annotation_file` names. Captions in COCO's format are not checked.

    Raises:
        DataError: if the file has a different format.
    """
    if annotations.suffix != ".json":
        return len(_read_table(annotations).files)
    try:
        return len(json.loads(_read(annotations))["images"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _not_coco(annotations, error) from error


def _read_coco(folder: Path, annotations: Path) -> Split:
    data = _read(annotations)
    images, rows = _coco_rows(data, annotations)
    place: dict[int, int] = {}
    for k, (number, _) in enumerate(images):
        if place.setdefault(number, k) != k:
            raise DataError(f"{annotations}: two images have the id {number}; give every picture a different id.")
    if orphans := [(key, number) for key, number, _ in rows if number not in place]:
        raise DataError(
            f"{annotations}: annotation {orphans[0][0]} belongs to image {orphans[0][1]}, which is not among the "
            "images."
        )
    split = annotations.stem.removeprefix("captions_")
    homes = [folder / "images" / split, folder / split, folder / "images", folder]
    with_pictures = (home for home in homes if home.is_dir() and (home / images[0][1]).exists())
    home = next(with_pictures, homes[0]) if images else folder
    return Split(
        files=tuple(home / name for _, name in images),
        numbers=tuple(number for number, _ in images),
        captions=_without_empty((place[number], " ".join(text.split())) for _, number, text in rows),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _coco_rows(data: bytes, annotations: Path) -> tuple[list[tuple[int, str]], list[tuple[int, int, str]]]:
    """Parse COCO's annotations into images (id, file name) and captions (id, image id, caption), both sorted.

    Raises DataError, naming the entry, for a value of a wrong type, such as a null for a caption.
    """
    try:
        entries = json.loads(data)
        where, images = "images", []
        for k, entry in enumerate(entries["images"]):
            where = f"images[{k}]"
            images.append((_get_integer(entry, "id"), _get_text(entry, "file_name")))
        where, rows = "annotations", []
        for k, entry in enumerate(entries["annotations"]):
            where = f"annotations[{k}]"
            rows.append(
                (_get_integer(entry, "id"), _get_integer(entry, "image_id"), _get_text(entry, "caption", empty=True))
            )
    except _InvalidValue as error:
        raise DataError(f"{annotations}, {where}: {error}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _not_coco(annotations, error) from error
    return sorted(images), sorted(rows)


def _not_coco(annotations: Path, error: Exception) -> DataError:
    return DataError(
        f"{annotations} is not a file of COCO captions ({type(error).__name__}: {error}): it needs images (id, "
        "file_name) and annotations (id, image_id, caption)."
    )


def _read_table(metadata: Path) -> Split:
    data = _read(metadata)
    pairs = _csv_pairs(data, metadata) if metadata.suffix == ".csv" else _json_pairs(data, metadata)
    # Paths are normalised so that ./0.png and 0.png count as the same picture.
    files = [Path(os.path.normpath(metadata.parent / name)) for name, _ in pairs]
    place = {file: k for k, file in enumerate(dict.fromkeys(files))}
    return Split(
        files=tuple(place),
        numbers=tuple(range(len(place))),
        captions=tuple((place[file], text) for file, (_, text) in zip(files, pairs, strict=True)),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _csv_pairs(data: bytes, metadata: Path) -> list[tuple[str, str]]:
    """Return (file name, caption) of each row of a CSV file.

    Raises DataError, naming the first incomplete row (the header is row 1).
    """
    check_commas(data, metadata, OWN)
    table = read_table(data, metadata, headed=True)
    if table.kind != "csv":
        raise DataError(f"{metadata} is a {table.kind} file: save it as CSV.")
    for name in OWN:
        if table.header.count(name) != 1:
            problem = "duplicate" if name in table.header else f"missing; the columns are {', '.join(table.header)}"
            raise DataError(f"{metadata}, row 1: the column {name} is {problem}. The file needs file_name and text.")
    places = [table.header.index(name) for name in OWN]
    pairs = []
    for number, row in enumerate(table.rows, table.first):
        where = f"{metadata}, row {number}"
        if len(row) != len(table.header):
            raise DataError(
                f"{where}: {len(row)} fields, but the header has {len(table.header)}; quote texts that contain commas."
            )
        name, text = row[places[0]], " ".join(row[places[1]].split())
        if not name.strip() or not text:
            raise DataError(
                f"{where}: the {'text' if name.strip() else 'file_name'} is empty; fill it in or remove the row."
            )
        if is_missing(text):
            raise DataError(f"{where}: the text is {text!r}, a missing value; fill it in or remove the row.")
        pairs.append((name, text))
    return pairs


def _json_pairs(data: bytes, metadata: Path) -> list[tuple[str, str]]:
    """Return (file name, caption) of each line of a JSON Lines file.

    Raises DataError, naming the first line that lacks one of them or has a value that is not a string.
    """
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{metadata}, line {row}: not UTF-8 (byte {error.start}); save it as UTF-8.") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            pairs.append((_get_text(entry, "file_name"), " ".join(_get_text(entry, "text").split())))
            if is_missing(pairs[-1][1]):
                raise _InvalidValue(f"the text is {pairs[-1][1]!r}, a missing value; fill it in or remove the entry")
        except KeyError as error:
            raise DataError(
                f"{metadata}, line {number}: {error.args[0]} is missing; every line needs file_name and text."
            ) from error
        except _InvalidValue as error:
            raise DataError(f"{metadata}, line {number}: {error}.") from error
        except (ValueError, TypeError, RecursionError) as error:
            why = f"{type(error).__name__}: {error}"
            raise DataError(f"{metadata}, line {number}: not a JSON object with file_name and text ({why}).") from error
    return pairs


class _InvalidValue(Exception):
    """A value of a table is invalid; the message names the field and the value."""


def _get_text(entry: Any, name: str, empty: bool = False) -> str:
    value = entry[name]
    if not isinstance(value, str):
        raise _InvalidValue(f"the {name} is {json.dumps(value)[:40]}, which is not a string")
    if not empty and not value.strip():
        raise _InvalidValue(f"the {name} is empty; fill it in or remove the entry")
    return value


def _get_integer(entry: Any, name: str) -> int:
    value = entry[name]
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if type(value) is not int:
        raise _InvalidValue(f"the {name} is {json.dumps(value)[:40]}, which is not an integer")
    return value


def _without_empty(captions: Iterable[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """Leave out blank captions, which the published COCO files contain. In user-provided tables they are errors."""
    return tuple((place, text) for place, text in captions if not is_missing(text))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error


def _check_exist(files: tuple[Path, ...], annotations: Path) -> None:
    """Raise DataError for missing pictures.

    Each folder is listed once, because looking up the 118,287 files of COCO separately takes minutes on a network disk.
    """
    listed: dict[Path, set[str]] = {}
    missing = []
    for file in files:
        if file.parent not in listed:
            entries = os.scandir(file.parent) if file.parent.is_dir() else ()
            listed[file.parent] = {entry.name for entry in entries if not entry.is_dir()}
        if file.name not in listed[file.parent]:
            missing.append(file)
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(files)} pictures that {annotations} names are missing, the first is "
            f"{missing[0]}: unpack them again, or remove them from the annotations."
        )
