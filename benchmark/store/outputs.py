"""Files and folders that a user names for what a command makes are checked before the work, by a small write."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import StoreError, UsageError

PROBE = b"palimpsest".ljust(4096)
"""What is written and removed again: a full disk has no room for it."""


def check_file(path: Path, name: str = "--out", suffixes: Sequence[str] = (), beside: str = "") -> Path:
    """Check that the file `path` can be written or replaced, and return it; it and its folders may be new.

    Args:
        path: the file.
        name: what the user calls it by, such as an option.
        suffixes: the endings that it may have, in lower case, the advised ones first; empty for any.
        beside: the ending of a second file that is written beside it.

    Raises:
        UsageError: it is a folder or no regular file, or has another ending.
        StoreError: its folder cannot be made or written, or its disk is full.
    """
    if path.is_dir():
        raise UsageError(f"{name} {path} is a folder: name a file in it.")
    if suffixes and path.suffix.lower() not in suffixes:
        endings = [suffix for suffix in suffixes if suffix][:3]
        raise UsageError(
            f"{name} {path} must end in {' or '.join(filter(None, (', '.join(endings[:-1]), endings[-1])))}."
        )
    for file in (path, path.with_suffix(beside)) if beside else (path,):
        if os.path.lexists(file) and not file.is_file():
            raise UsageError(f"{name} writes {file}, which is there and is no regular file: {_remedy(name)}.")
    _probe(path.parent, path, name)
    return path


def check_folder(path: Path, name: str = "--out") -> Path:
    """Check that files can be written into the folder `path`, which may be new, and return it.

    Raises:
        UsageError: it is there and is no folder.
        StoreError: it cannot be made or written, or its disk is full.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise UsageError(f"{name} {path} is not a folder: {_remedy(name)}.")
    _probe(path, path, name)
    return path


def _probe(folder: Path, path: Path, name: str) -> None:
    """Write a file into the nearest folder above `path` that is there, and remove it again."""
    nearest = next((parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent)), folder)
    if not nearest.is_dir():
        raise UsageError(f"{name} {path} lies in {nearest}, which is not a folder: {_remedy(name)}.")
    try:
        with tempfile.TemporaryFile(dir=nearest) as probe:
            probe.write(PROBE)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StoreError(f"{name} {path} cannot be written ({reason}): {_remedy(name)}.") from error


def _remedy(name: str) -> str:
    """What to do: an option takes another value, what is given as an argument has to be written where it lies."""
    return f"give another {name}" if name.startswith("--") else "make its folder writable, or copy it elsewhere"
