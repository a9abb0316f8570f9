"""Captioned pictures from a folder, in COCO's layout or in that of one's own pictures; no torch.

    COCO        annotations/captions_train2017.json and captions_val2017.json; pictures in images/train2017, train2017,
                images/ or the folder itself (and so for val)
    one's own   train/metadata.csv (or .jsonl) with the columns file_name and text, pictures beside it; and so val/

A value that is no text (a null, a number) is refused by its place; so are, in tables of one's own, a row of another
width and a value that is empty or stands for a missing one ("NaN").

Train pictures are what models are fine-tuned on (D_f), val pictures what FID compares with.
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
"""Columns of a table of one's own; it may have others."""


@dataclass(frozen=True)
class Split:
    """Pictures in the order of their numbers, and all their captions."""

    files: tuple[Path, ...]
    numbers: tuple[int, ...]  # of the pictures: COCO's ids, else their places
    captions: tuple[tuple[int, str], ...]  # (place of the picture, caption), in the order of the annotations' ids
    sha256: str  # of the annotation file

    def one_each(self) -> list[tuple[int, str]]:
        """(picture's number, its first caption): the one with the lowest annotation id."""
        return [(self.numbers[place], text) for place, text in self._first()]

    def spread(self, count: int) -> Split:
        """At most `count` of the captioned pictures, evenly spread over all, each with its first caption."""
        first = self._first()
        some = [first[k * len(first) // count] for k in range(count)] if len(first) > count else first
        return replace(
            self,
            files=tuple(self.files[place] for place, _ in some),
            numbers=tuple(self.numbers[place] for place, _ in some),
            captions=tuple((k, text) for k, (_, text) in enumerate(some)),
        )

    def _first(self) -> list[tuple[int, str]]:
        """(place of the picture, its first caption), in the order of the pictures."""
        first: dict[int, str] = {}
        for place, text in self.captions:
            first.setdefault(place, text)
        return sorted(first.items())


def annotation_file(folder: Path, side: Side) -> Path:
    """The file with the captions of one side. DataError if there is none, or if there are several."""
    if not folder.is_dir():
        raise DataError(
            f"There is no folder {folder} with captioned pictures: unpack COCO 2017 there (annotations and images), or "
            'write captions = "<folder>" into a testbed file of your own (like = "sd21").'
        )
    patterns = (f"annotations/captions_{side}*.json", f"{side}/metadata.csv", f"{side}/metadata.jsonl")
    files = [file for pattern in patterns for file in visible(folder, pattern)]
    if len(files) > 1:
        names = ", ".join(str(file.relative_to(folder)) for file in files)
        raise DataError(
            f"{folder} has several files of {side} captions ({names}): keep the one that is meant, and move the others "
            "elsewhere."
        )
    if files:
        return files[0]
    raise DataError(
        f"{folder} has neither annotations/captions_{side}*.json (COCO) nor {side}/metadata.csv or .jsonl "
        "(file_name, text): it is not a folder of captioned pictures."
    )


def read_split(folder: Path, side: Side) -> Split:
    """One side of a folder; all its pictures exist. DataError for a wrong table, no captions or missing pictures."""
    annotations = annotation_file(folder, side)
    split = _coco(folder, annotations) if annotations.suffix == ".json" else _own(annotations)
    if not split.captions:
        raise DataError(f"{annotations} has no captions.")
    _check_exist(split.files, annotations)
    return split


def count_pictures(annotations: Path) -> int:
    """How many pictures an `annotation_file` names. Captions in COCO's form are not checked. DataError for a file of
    another form."""
    if annotations.suffix != ".json":
        return len(_own(annotations).files)
    try:
        return len(json.loads(_read(annotations))["images"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _no_coco(annotations, error) from error


def _coco(folder: Path, annotations: Path) -> Split:
    data = _read(annotations)
    images, rows = _coco_rows(data, annotations)
    place: dict[int, int] = {}
    for k, (number, _) in enumerate(images):
        if place.setdefault(number, k) != k:
            raise DataError(f"{annotations}: two images have the id {number}; give each picture its own.")
    if orphans := [(key, number) for key, number, _ in rows if number not in place]:
        raise DataError(
            f"{annotations}: annotation {orphans[0][0]} is of image {orphans[0][1]}, which is not among the images."
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
    """Images (id, file name) and annotations (id, image's id, caption), sorted. DataError names the entry that has a
    value of another type, such as a null for a caption."""
    try:
        entries = json.loads(data)
        where, images = "images", []
        for k, entry in enumerate(entries["images"]):
            where = f"images[{k}]"
            images.append((_integer(entry, "id"), _text(entry, "file_name")))
        where, rows = "annotations", []
        for k, entry in enumerate(entries["annotations"]):
            where = f"annotations[{k}]"
            rows.append((_integer(entry, "id"), _integer(entry, "image_id"), _text(entry, "caption", empty=True)))
    except _WrongType as error:
        raise DataError(f"{annotations}, {where}: {error}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _no_coco(annotations, error) from error
    return sorted(images), sorted(rows)


def _no_coco(annotations: Path, error: Exception) -> DataError:
    return DataError(
        f"{annotations} is not COCO's captions ({type(error).__name__}: {error}): it needs images (id, file_name) "
        "and annotations (id, image_id, caption)."
    )


def _own(metadata: Path) -> Split:
    data = _read(metadata)
    pairs = _csv_pairs(data, metadata) if metadata.suffix == ".csv" else _json_pairs(data, metadata)
    files = [Path(os.path.normpath(metadata.parent / name)) for name, _ in pairs]  # ./0.png is 0.png
    place = {file: k for k, file in enumerate(dict.fromkeys(files))}
    return Split(
        files=tuple(place),
        numbers=tuple(range(len(place))),
        captions=tuple((place[file], text) for file, (_, text) in zip(files, pairs, strict=True)),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _csv_pairs(data: bytes, metadata: Path) -> list[tuple[str, str]]:
    """(file name, caption) of each row. DataError names the first incomplete row (the header is row 1)."""
    check_commas(data, metadata, OWN)
    table = read_table(data, metadata, headed=True)
    if table.kind != "csv":
        raise DataError(f"{metadata} is a {table.kind} file: save it as CSV.")
    for name in OWN:
        if table.header.count(name) != 1:
            problem = "there twice" if name in table.header else f"missing; there are {', '.join(table.header)}"
            raise DataError(f"{metadata}, row 1: the column {name} is {problem}. It needs file_name and text.")
    places = [table.header.index(name) for name in OWN]
    pairs = []
    for number, row in enumerate(table.rows, table.first):
        where = f"{metadata}, row {number}"
        if len(row) != len(table.header):
            raise DataError(
                f"{where}: {len(row)} fields where the header has {len(table.header)}; is a comma unquoted?"
            )
        name, text = row[places[0]], " ".join(row[places[1]].split())
        if not name.strip() or not text:
            raise DataError(f"{where}: the {'text' if name.strip() else 'file_name'} is empty; fill or remove the row.")
        if is_missing(text):
            raise DataError(f"{where}: the text is {text!r}, a missing value; fill or remove the row.")
        pairs.append((name, text))
    return pairs


def _json_pairs(data: bytes, metadata: Path) -> list[tuple[str, str]]:
    """(file name, caption) of each line. DataError names the first line that lacks one of them as text."""
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
            pairs.append((_text(entry, "file_name"), " ".join(_text(entry, "text").split())))
            if is_missing(pairs[-1][1]):
                raise _WrongType(f"the text is {pairs[-1][1]!r}, a missing value; fill or remove the entry")
        except KeyError as error:
            raise DataError(
                f"{metadata}, line {number}: there is no {error.args[0]}; it needs file_name, text."
            ) from error
        except _WrongType as error:
            raise DataError(f"{metadata}, line {number}: {error}.") from error
        except (ValueError, TypeError, RecursionError) as error:
            why = f"{type(error).__name__}: {error}"
            raise DataError(f"{metadata}, line {number}: no JSON object with file_name and text ({why}).") from error
    return pairs


class _WrongType(Exception):
    """A value of a table has the wrong type; the message says which field, and its value."""


def _text(entry: Any, name: str, empty: bool = False) -> str:
    value = entry[name]
    if not isinstance(value, str):
        raise _WrongType(f"the {name} is {json.dumps(value)[:40]}, which is no text")
    if not empty and not value.strip():
        raise _WrongType(f"the {name} is empty; fill or remove the entry")
    return value


def _integer(entry: Any, name: str) -> int:
    value = entry[name]
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if type(value) is not int:
        raise _WrongType(f"the {name} is {json.dumps(value)[:40]}, which is no integer")
    return value


def _without_empty(captions: Iterable[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """Leaves out blank captions, which COCO has as published; in the user's own tables they are refused."""
    return tuple((place, text) for place, text in captions if not is_missing(text))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error


def _check_exist(files: tuple[Path, ...], annotations: Path) -> None:
    """DataError for missing pictures. Folders are listed once: 118,287 lookups take minutes on a network disk."""
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
            f"{missing[0]}: unpack them again, or take them out of the annotations."
        )
