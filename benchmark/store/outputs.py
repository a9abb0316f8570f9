"""Checks, before a long computation, that the output files and folders that a user named can be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import StoreError, UsageError

PROBE = b"palimpsest".ljust(4096)
"""Data written and removed for the check. It is large enough to fail on a full disk."""


def check_file(path: Path, name: str = "--out", suffixes: Sequence[str] = (), beside: str = "") -> Path:
    """Check that the file `path` can be written or replaced, and return it.

    The file and its folders need not exist yet.

    Args:
        path: the file.
        name: name of the file in error messages, such as an option.
        suffixes: allowed suffixes in lower case, recommended ones first; empty for any.
        beside: suffix of a second file that is written with the same stem.

    Raises:
        UsageError: it is a folder, exists but is not a regular file, or has a suffix that is not allowed.
        StoreError: its folder cannot be created or written, or its disk is full.
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
            raise UsageError(f"{name} writes {file}, which exists but is not a regular file: {_remedy(name)}.")
    _check_writable(path.parent, path, name)
    return path


def check_folder(path: Path, name: str = "--out") -> Path:
    """Check that files can be written into the folder `path`, which need not exist yet, and return it.

    Raises:
        UsageError: it exists but is not a folder.
        StoreError: it cannot be created or written, or its disk is full.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise UsageError(f"{name} {path} is not a folder: {_remedy(name)}.")
    _check_writable(path, path, name)
    return path


def _check_writable(folder: Path, path: Path, name: str) -> None:
    """Write and remove a small file in `folder` or, if it does not exist, in its nearest existing parent."""
    nearest = next((parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent)), folder)
    if not nearest.is_dir():
        raise UsageError(f"{name} {path} is in {nearest}, which is not a folder: {_remedy(name)}.")
    try:
        with tempfile.TemporaryFile(dir=nearest) as probe:
            probe.write(PROBE)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StoreError(f"{name} {path} cannot be written ({reason}): {_remedy(name)}.") from error


def _remedy(name: str) -> str:
    """Return what to do: an option can get a different value, but a file given as an argument is written in place."""
    return f"give a different {name}" if name.startswith("--") else "make its folder writable, or copy it elsewhere"
