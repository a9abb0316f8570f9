"""Computes and caches checksums of user files, which may be replaced by other contents of the same name.

    <home>/checksums/<key>/index.json   one folder of files: name -> [bytes, time of change in ns, sha256]
    <home>/checksums/replaced.json      present and earlier checksums by name: see `note`

A file is read again only if its size or time of change differs from the cached ones. Store keys contain the checksums.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import PalimpsestError, StoreError
from benchmark.json_types import JsonObject
from benchmark.store import durable
from benchmark.store.listing import refuse_unreadable

if TYPE_CHECKING:
    from benchmark.console import Progress

Check = Callable[[Path, bytes], None]
"""Checks the bytes of a file, and raises a PalimpsestError if they are not valid."""
THREADS = 16
KEPT_EVERY = 8192
"""Number of files after which checksums are saved, so that a killed run over many files can resume."""
SETTLED = 2 * 10**9
"""Nanoseconds. The checksum of a file that changed this shortly before it was read is not cached, because the file
could change again without a new time of change."""


@dataclass(frozen=True)
class Contents:
    """The SHA-256 checksums of the valid files, and for every other file the reason why it is not valid."""

    sums: Mapping[Path, str]
    broken: Mapping[Path, str]


def look(
    home: Path, files: Sequence[Path], check: Check, what: str, progress: Progress | None = None, keep: bool = True
) -> Contents:
    """Return the checksums of `files`, reading and checking those that are not in the cache.

    Args:
        home: the runs folder.
        files: paths of the files.
        check: called with the path and the contents of each file that is read.
        what: name of the files in the progress display.
        progress: where to display progress.
        keep: whether to save checksums under `home`. Processes that use the same folders of files then wait for each
            other.

    Raises:
        StoreError: `home` cannot be written.
    """
    folders = {file.parent for file in files}
    with ExitStack() as locks:
        for index_folder in sorted({_index(home, folder).parent for folder in folders}) if keep else ():
            locks.enter_context(durable.alone(index_folder))
        index_by_folder = {folder: _read_index(home, folder) for folder in folders}
        with ThreadPoolExecutor(THREADS) as pool:
            stamps = list(pool.map(_stamp, files))
        sums: dict[Path, str] = {}
        broken: dict[Path, str] = {}
        changed_files: list[tuple[Path, list[int]]] = []
        for file, stamp in zip(files, stamps, strict=True):
            entry = index_by_folder[file.parent].get(file.name)
            if isinstance(stamp, str):
                broken[file] = stamp
            elif entry and entry[:2] == stamp:
                sums[file] = entry[2]
            else:
                changed_files.append((file, stamp))
        with (
            progress.stage(what, len(changed_files), "files") if progress and changed_files else nullcontext() as stage
        ):
            for start in range(0, len(changed_files), KEPT_EVERY):
                part = changed_files[start : start + KEPT_EVERY]
                for file, stamp, checksum, problem in _contents(part, check, stage):
                    if problem:
                        broken[file] = problem
                        continue
                    sums[file] = checksum
                    if time.time_ns() - stamp[1] > SETTLED:
                        index_by_folder[file.parent][file.name] = [*stamp, checksum]
                if keep:
                    _write(home, index_by_folder)
    return Contents(sums, broken)


def _contents(
    files: Sequence[tuple[Path, list[int]]], check: Check, stage: Any
) -> Iterable[tuple[Path, list[int], str, str]]:
    """Read files in parallel, and yield (file, stamp, sha256, problem) for each; valid files have no problem."""

    def read(pair: tuple[Path, list[int]]) -> tuple[Path, list[int], str, str]:
        file, stamp = pair
        try:
            data = file.read_bytes()
            check(file, data)
        except OSError as error:
            return file, stamp, "", str(error.strerror or error)
        except PalimpsestError as error:
            return file, stamp, "", str(error)
        return file, stamp, hashlib.sha256(data).hexdigest(), ""

    with ThreadPoolExecutor(min(THREADS, 2 * (os.cpu_count() or 1))) as pool:
        for result in pool.map(read, files):
            if stage:
                stage.advance()
            yield result


def note(home: Path, contents: Mapping[str, str]) -> None:
    """Save the present checksum of each name in `contents`; `replaced` then returns its earlier checksums."""
    with durable.alone(_folder(home)):
        path = _folder(home) / "replaced.json"
        notes = _notes(home)
        new_contents = {
            name: checksum for name, checksum in contents.items() if name not in notes or notes[name]["now"] != checksum
        }
        for name, checksum in new_contents.items():
            earlier = [*notes[name]["before"], notes[name]["now"]] if name in notes else []
            notes[name] = {"now": checksum, "before": [digest for digest in earlier if digest != checksum]}
        if new_contents:
            durable.write_bytes(path, (json.dumps(notes, indent=1) + "\n").encode())


def replaced(home: Path) -> frozenset[str]:
    """Return the checksums of earlier contents that no name has any more."""
    notes = _notes(home).values()
    return frozenset(checksum for entry in notes for checksum in entry["before"]) - {entry["now"] for entry in notes}


def sizes(files: Sequence[Path]) -> dict[Path, str]:
    """Return the files that are missing, empty or broken links, each with its problem. No file is read."""
    with ThreadPoolExecutor(THREADS) as pool:
        stamps = list(pool.map(_stamp, files))
    return {file: stamp for file, stamp in zip(files, stamps, strict=True) if isinstance(stamp, str)}


def _stamp(file: Path) -> list[int] | str:
    """Return the size and the time of change of a file, or the reason why it is not valid."""
    try:
        status = file.stat()
    except OSError as error:
        return "it is a link to a missing file" if file.is_symlink() else str(error.strerror)
    if not status.st_size:
        return "it is empty"
    return [status.st_size, status.st_mtime_ns]


def _folder(home: Path) -> Path:
    return home / "checksums"


def _index(home: Path, folder: Path) -> Path:
    return _folder(home) / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:20]}" / "index.json"


def _read_index(home: Path, folder: Path) -> JsonObject:
    """Return the index of a folder's files, without damaged entries."""
    index = _read(_index(home, folder))
    return {name: entry for name, entry in index.items() if isinstance(entry, list) and len(entry) == 3}


def _notes(home: Path) -> dict[str, JsonObject]:
    notes = _read(_folder(home) / "replaced.json")
    return {
        name: entry for name, entry in notes.items() if isinstance(entry, dict) and {"now", "before"} <= entry.keys()
    }


def _read(path: Path) -> JsonObject:
    refuse_unreadable(path)
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_bytes())
        if isinstance(content, dict):
            return content
    return {}


def _write(home: Path, index_by_folder: Mapping[Path, JsonObject]) -> None:
    with suppress(StoreError):  # this is only a cache: files without a cached checksum are read again
        for folder, files in index_by_folder.items():
            durable.write_bytes(_index(home, folder), (json.dumps(files, separators=(",", ":")) + "\n").encode())
