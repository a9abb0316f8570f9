"""Checksums of files that people own and may replace under the same names, each read anew where size or time changed.

    <home>/checksums/<key>/index.json   one folder of files: name -> [bytes, time of change in ns, sha256]
    <home>/checksums/replaced.json      what stood for which contents before and now: see `note`

Keys of the store hold the checksums. These files are a cache: without them all contents are read again.
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
from benchmark.store import durable

if TYPE_CHECKING:
    from benchmark.console import Progress

Check = Callable[[Path, bytes], None]
"""Looks at a file's bytes; a PalimpsestError says that they are not what they should be."""
THREADS = 16
KEPT_EVERY = 8192
"""Files between two writings of what is known: a killed reading of 118,287 pictures goes on from there."""
SETTLED = 2 * 10**9
"""Nanoseconds. A file that changed this shortly before it was read may change again within one tick of its clock, so
its checksum is used and not kept."""


@dataclass(frozen=True)
class Contents:
    """What is in files: the sha256 of each that could be read, and of each other the reason."""

    sums: Mapping[Path, str]
    broken: Mapping[Path, str]


def look(
    home: Path, files: Sequence[Path], check: Check, what: str, progress: Progress | None = None, keep: bool = True
) -> Contents:
    """Checksums of `files`; those that are new, or changed in size or time, are read whole and given to `check`.

    `what` names the files in the progress shown. With `keep`, what is read is remembered under the runs folder `home`,
    and of several processes one reads while others that look into the same folders wait for what it finds. Raises
    StoreError if `home` cannot be written.
    """
    folders = {file.parent for file in files}
    with ExitStack() as locks:
        for place in sorted({_index(home, folder).parent for folder in folders}) if keep else ():
            locks.enter_context(durable.alone(place))
        known = {folder: _known(home, folder) for folder in folders}
        with ThreadPoolExecutor(THREADS) as pool:
            stamps = list(pool.map(_stamp, files))
        sums: dict[Path, str] = {}
        broken: dict[Path, str] = {}
        new: list[tuple[Path, list[int]]] = []
        for file, stamp in zip(files, stamps, strict=True):
            kept = known[file.parent].get(file.name)
            if isinstance(stamp, str):
                broken[file] = stamp
            elif kept and kept[:2] == stamp:
                sums[file] = kept[2]
            else:
                new.append((file, stamp))
        with progress.stage(what, len(new), "files") if progress and new else nullcontext() as stage:
            for start in range(0, len(new), KEPT_EVERY):
                for file, stamp, found, why in _contents(new[start : start + KEPT_EVERY], check, stage):
                    if why:
                        broken[file] = why
                        continue
                    sums[file] = found
                    if time.time_ns() - stamp[1] > SETTLED:
                        known[file.parent][file.name] = [*stamp, found]
                if keep:
                    _write(home, known)
    return Contents(sums, broken)


def _contents(
    files: Sequence[tuple[Path, list[int]]], check: Check, stage: Any
) -> Iterable[tuple[Path, list[int], str, str]]:
    """(file, stamp, sha256, what is wrong or nothing) of each file, read side by side."""

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
        for found in pool.map(read, files):
            if stage:
                stage.advance()
            yield found


def note(home: Path, contents: Mapping[str, str]) -> None:
    """Remember that each thing (the key) has these contents now; what it had before is then `replaced`."""
    with durable.alone(_folder(home)):
        path = _folder(home) / "replaced.json"
        known = _notes(home)
        new = {what: now for what, now in contents.items() if what not in known or known[what]["now"] != now}
        for what, now in new.items():
            before = [*known[what]["before"], known[what]["now"]] if what in known else []
            known[what] = {"now": now, "before": [digest for digest in before if digest != now]}
        if new:
            durable.write_bytes(path, (json.dumps(known, indent=1) + "\n").encode())


def replaced(home: Path) -> frozenset[str]:
    """Checksums of contents that nothing has any more."""
    known = _notes(home).values()
    return frozenset(digest for kept in known for digest in kept["before"]) - {kept["now"] for kept in known}


def sizes(files: Sequence[Path]) -> dict[Path, str]:
    """Those of the files that are missing, dangling links or empty, each with what it is; nothing is read."""
    with ThreadPoolExecutor(THREADS) as pool:
        stamps = list(pool.map(_stamp, files))
    return {file: stamp for file, stamp in zip(files, stamps, strict=True) if isinstance(stamp, str)}


def _stamp(file: Path) -> list[int] | str:
    """Size and time of change, or what is wrong with the file."""
    try:
        found = file.stat()
    except OSError as error:
        return "it is a link to nothing" if file.is_symlink() else str(error.strerror)
    if not found.st_size:
        return "it is empty"
    return [found.st_size, found.st_mtime_ns]


def _folder(home: Path) -> Path:
    return home / "checksums"


def _index(home: Path, folder: Path) -> Path:
    return _folder(home) / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:20]}" / "index.json"


def _known(home: Path, folder: Path) -> dict[str, Any]:
    """What the index says of a folder's files; what is damaged in it is left out."""
    found = _read(_index(home, folder))
    return {name: entry for name, entry in found.items() if isinstance(entry, list) and len(entry) == 3}


def _notes(home: Path) -> dict[str, dict[str, Any]]:
    found = _read(_folder(home) / "replaced.json")
    return {what: kept for what, kept in found.items() if isinstance(kept, dict) and {"now", "before"} <= kept.keys()}


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        if isinstance(found, dict):
            return found
    return {}


def _write(home: Path, known: Mapping[Path, dict[str, Any]]) -> None:
    with suppress(StoreError):  # a cache: what is not kept is read again
        for folder, files in known.items():
            durable.write_bytes(_index(home, folder), (json.dumps(files, separators=(",", ":")) + "\n").encode())
