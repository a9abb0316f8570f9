"""Captioned pictures from a folder, in COCO's layout or in that of one's own pictures; no torch.

    COCO        annotations/captions_train2017.json and captions_val2017.json; pictures in images/train2017, train2017,
                images/ or the folder itself (and so for val)
    one's own   train/metadata.csv (or .jsonl) with the columns file_name and text, pictures beside it; and so val/

Train pictures are what models are fine-tuned on (D_f), val pictures what FID compares with.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmark.errors import DataError
from benchmark.store.paths import visible

Side = Literal["train", "val"]


@dataclass(frozen=True)
class Split:
    """Pictures in the order of their numbers, and all their captions."""

    files: tuple[Path, ...]
    numbers: tuple[int, ...]  # of the pictures: COCO's ids, else their places
    captions: tuple[tuple[int, str], ...]  # (place of the picture, caption), in the order of the annotations' ids
    sha256: str  # of the file that says so

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
    """The file that says what is on one side. DataError where there is none."""
    if not folder.is_dir():
        raise DataError(
            f"There is no folder {folder} with captioned pictures: unpack COCO 2017 there (annotations and images), or "
            'write captions = "<folder>" into a testbed file of your own (like = "sd21").'
        )
    for pattern in (f"annotations/captions_{side}*.json", f"{side}/metadata.csv", f"{side}/metadata.jsonl"):
        if found := visible(folder, pattern):
            return found[0]
    raise DataError(
        f"{folder} has neither annotations/captions_{side}*.json (COCO) nor {side}/metadata.csv or .jsonl "
        "(file_name, text): it is not a folder of captioned pictures."
    )


def read_split(folder: Path, side: Side) -> Split:
    """One side of a folder, every picture seen to be there. DataError for what is not as it should be."""
    told = annotation_file(folder, side)
    split = _coco(folder, told) if told.suffix == ".json" else _own(told)
    if not split.captions:
        raise DataError(f"{told} has no captions.")
    _check_there(split.files, told)
    return split


def _coco(folder: Path, annotations: Path) -> Split:
    data = _read(annotations)
    try:
        told = json.loads(data)
        images = sorted((int(one["id"]), str(one["file_name"])) for one in told["images"])
        rows = sorted((int(one["id"]), int(one["image_id"]), str(one["caption"])) for one in told["annotations"])
        place = {number: k for k, (number, _) in enumerate(images)}
        captions = tuple((place[number], " ".join(text.split())) for _, number, text in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{annotations} is not COCO's captions ({type(error).__name__}: {error}): it needs images (id, file_name) "
            "and annotations (id, image_id, caption)."
        ) from error
    split = annotations.stem.removeprefix("captions_")
    homes = [folder / "images" / split, folder / split, folder / "images", folder]
    home = (
        next((one for one in homes if one.is_dir() and (one / images[0][1]).exists()), homes[0]) if images else folder
    )
    return Split(
        files=tuple(home / name for _, name in images),
        numbers=tuple(number for number, _ in images),
        captions=_without_empty(captions),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _own(metadata: Path) -> Split:
    data = _read(metadata)
    try:
        text = data.decode("utf-8-sig")
        rows = (
            list(csv.DictReader(io.StringIO(text, newline="")))  # a caption in quotes may have several lines
            if metadata.suffix == ".csv"
            else [json.loads(one) for one in text.split("\n") if one.strip()]
        )
        pairs = [(str(row["file_name"]), " ".join(str(row["text"]).split())) for row in rows]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(
            f"{metadata} needs the columns file_name and text in UTF-8 ({type(error).__name__}: {error})."
        ) from error
    names = list(dict.fromkeys(name for name, _ in pairs))
    place = {name: k for k, name in enumerate(names)}
    return Split(
        files=tuple(metadata.parent / name for name in names),
        numbers=tuple(range(len(names))),
        captions=_without_empty((place[name], text) for name, text in pairs),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _without_empty(captions: Iterable[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    return tuple((place, text) for place, text in captions if text)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error


def _check_there(files: tuple[Path, ...], annotations: Path) -> None:
    """Folders are listed once: asking for each of 118,287 files would take minutes on a network disk."""
    listed: dict[Path, set[str]] = {}
    missing = []
    for file in files:
        if file.parent not in listed:
            listed[file.parent] = set(os.listdir(file.parent)) if file.parent.is_dir() else set()
        if file.name not in listed[file.parent]:
            missing.append(file)
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(files)} pictures that {annotations} names are missing, the first is "
            f"{missing[0]}: unpack them again, or take them out of the annotations."
        )
