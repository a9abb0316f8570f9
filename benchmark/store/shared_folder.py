"""Checks that a folder's file system does what runs on several machines need when they share a store.

A network file system such as NFS can pass all of these checks on one machine. What only several machines show is
assumed, and docs/clusters.md says so: a file that one machine has closed is complete when a different machine opens it
(NFS calls this close-to-open consistency), and locks are not local to a machine (the mount option `local_lock`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmark.errors import StoreError
from benchmark.store import durable

_IS_LOCKED = """
import sys
from filelock import FileLock, Timeout
try:
    FileLock(sys.argv[1], blocking=False, fallback_to_soft=False).acquire()
except Timeout:
    print("locked")
"""
"""Program that prints "locked" if a different process holds the lock of the file in its argument."""
_SECONDS = 60.0


def check(folder: Path, name: str = "--runs") -> None:
    """Create `folder`, and check with files in it, which are removed, that its file system is fit for a shared store.

    Checked are: a file is created only once, a file is replaced by renaming, a folder is never replaced by renaming,
    links to files, flushing to the disk, and that a process sees the lock of a different process.

    Args:
        folder: the folder.
        name: what error messages call it, such as an option.

    Raises:
        StoreError: the folder cannot be written, or one of the checks fails; the message says which.
    """
    with durable.storing(folder):
        probe = durable.temporary_folder(folder)
    try:
        for need, test in CHECKS.items():
            try:
                passes, reason = test(probe), ""
            except (OSError, NotImplementedError) as error:  # filelock raises the second for missing locks
                passes, reason = False, f" ({(getattr(error, 'strerror', None) or str(error)).lower()})"
            if not passes:
                raise StoreError(
                    f"The file system of {name} {folder} does not {need}{reason}, so several jobs cannot share the "
                    f"folder: give a {name} on a different file system."
                )
    finally:
        durable.remove(probe)


def _creates_once(probe: Path) -> bool:
    path = probe / "claim"
    with open(path, "xb"):
        pass
    try:
        with open(path, "xb"):
            return False
    except FileExistsError:
        return True


def _replaces_files(probe: Path) -> bool:
    new, old = probe / "new", probe / "old"
    new.write_bytes(b"new")
    old.write_bytes(b"old")
    os.replace(new, old)
    return old.read_bytes() == b"new" and not new.exists()


def _keeps_folders(probe: Path) -> bool:
    for folder in ("first", "second"):
        (probe / folder).mkdir()
        (probe / folder / "file").write_bytes(folder.encode())
    try:
        durable.publish(probe / "second", probe / "first")
    except FileExistsError:
        return (probe / "first" / "file").read_bytes() == b"first"
    return False


def _links(probe: Path) -> bool:
    (probe / "target").write_bytes(b"target")
    (probe / "link").symlink_to("target")
    return (probe / "link").read_bytes() == b"target"


def _flushes(probe: Path) -> bool:
    path = probe / "flushed"
    path.write_bytes(b"flushed")
    durable.sync_file(path)
    durable.sync_folder(probe)
    return True


def _locks(probe: Path) -> bool:
    from filelock import FileLock

    path = probe / "lock"
    with FileLock(path, blocking=False, fallback_to_soft=False):
        command = [sys.executable, "-c", _IS_LOCKED, str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return False
    return done.stdout.strip() == "locked"


CHECKS: dict[str, Callable[[Path], bool]] = {
    "refuse to create a file that exists": _creates_once,
    "replace a file when a different one is renamed to it": _replaces_files,
    "refuse to rename a folder to one that has files": _keeps_folders,
    "support symbolic links": _links,
    "flush files and folders to the disk": _flushes,
    "show one process the lock of another": _locks,
}
"""What the file system must do, as a clause of the error message, and a test of it in an empty folder."""
