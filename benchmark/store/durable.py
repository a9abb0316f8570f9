"""Durable writes: what has been printed as done is on the disk, whole.

A file or folder is written under a temporary name beside its place, fsynced, renamed, and the folder that holds the
name is fsynced too. A process killed at any byte leaves nothing or the whole thing, and a temporary name that a later
start sweeps away. The price is one fsync a file and one a folder: milliseconds each, against minutes of computing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import StoreError
from prompts.tables import csv_text

if TYPE_CHECKING:
    from filelock import FileLock


HOME_VARIABLE = "PALIMPSEST_HOME"
_DAY = 24 * 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """True if `error` says that the disk (or the quota) is full, whichever library raised it.

    safetensors, for one, reports the operating system's error as text only.
    """
    return getattr(error, "errno", None) in _FULL or "No space left on device" in str(error)


def explained(error: BaseException, path: Path) -> StoreError:
    """Return `error`, raised while writing `path`, as a StoreError that names the path and the remedy."""
    elsewhere = f"set {HOME_VARIABLE} to a folder"
    if is_full(error):
        return StoreError(
            f"The disk is full while writing {path}: free some space or {elsewhere} on another disk, "
            "then start again (what is finished is kept)."
        )
    name = getattr(error, "filename", None)
    failed_path = Path(name) if isinstance(name, str | Path) else path
    ancestors = (failed_path, *failed_path.parents)
    if isinstance(error, FileExistsError | NotADirectoryError):
        blocker = next((p for p in ancestors if os.path.lexists(p) and not os.path.isdir(p)), failed_path)
        return StoreError(f"Cannot write {path} because {blocker} is not a folder: move it away or {elsewhere}.")
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    folder = next((p for p in ancestors if os.path.isdir(p)), failed_path)
    return StoreError(f"Cannot write {path} ({reason}): make {folder} writable or {elsewhere} that is.")


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn every OSError of the block into the StoreError that names `path`."""
    try:
        yield
    except OSError as error:
        raise explained(error, path) from error


@contextmanager
def filling(folder: Path, path: Path) -> Iterator[None]:
    """For a block of someone else's code that fills `folder` (shown to the user as `path`).

    Only a full disk and failures on files under `folder` are the store's; all other errors pass through unchanged.
    """
    try:
        yield
    except Exception as error:
        name = getattr(error, "filename", None)
        is_folder_error = (
            isinstance(error, PermissionError) and isinstance(name, str | Path) and Path(name).is_relative_to(folder)
        )
        if is_full(error) or is_folder_error:
            raise explained(error, path) from error
        raise


def sync_file(path: Path) -> None:
    """Wait until the contents of `path` are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the names in `path` are on the disk, where the system can promise that."""
    if os.name != "posix":
        return
    try:
        sync_file(path)
    except OSError as error:  # some network file systems cannot sync a folder, and need not
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def make_folder(path: Path) -> None:
    """Make `path` and its parents, durably; an existing folder is fine."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        os.mkdir(path)
    except FileExistsError:
        if not path.is_dir():
            raise
    sync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what is there at once or not at all. Raises StoreError."""
    temporary = path.with_name(temporary_name())
    with storing(path):
        make_folder(path.parent)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        sync_folder(path.parent)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write `header` and `rows` as UTF-8 CSV to `path`, as `write_bytes` does, and return `path`."""
    write_bytes(path, csv_text(header, rows).encode())
    return path


@contextmanager
def alone(folder: Path, wait: bool = True) -> Iterator[None]:
    """Make `folder`, and let one process at a time into the block. Others wait, or without `wait` get a StoreError.

    A process that dies frees the folder. The lock is a hidden file beside it, which stays. On file systems without
    locks all processes are let in.
    """
    from filelock import FileLock

    with storing(folder):
        make_folder(folder)
    # A soft lock would outlive a killed process, so there is none where the file system has no other.
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), blocking=wait, fallback_to_soft=False)
    try:
        with suppress(OSError):
            _acquire(lock, folder)
        yield
    finally:
        with suppress(OSError):
            lock.release(force=True)


def _acquire(lock: FileLock, folder: Path) -> None:
    from filelock import Timeout

    try:
        lock.acquire()
    except Timeout as error:  # an OSError, but not one of a file system without locks
        raise StoreError(f"Another process is at work in {folder}: wait for its end, or stop it.") from error


def temporary_folder(parent: Path, mode: int = 0o777) -> Path:
    """A new empty folder in `parent` that `sweep` removes if its owner dies."""
    make_folder(parent)
    folder = parent / temporary_name()
    os.mkdir(folder, mode)
    return folder


def publish(temporary: Path, final: Path) -> None:
    """Rename the folder `temporary` to `final`. Raises FileExistsError if another process was first."""
    make_folder(final.parent)
    try:
        os.rename(temporary, final)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final)) from None
        raise
    sync_folder(final.parent)


def remove(folder: Path) -> None:
    """Remove `folder` and all in it, as far as the system lets us."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove the temporary names in `parent` whose owner is dead, or unknown here and silent for a day."""
    with suppress(OSError):
        for path in parent.glob(".tmp-*"):
            if not _abandoned(path):
                continue
            if path.is_dir():
                remove(path)
            else:
                with suppress(OSError):
                    path.unlink()


def temporary_name() -> str:
    """A name that `sweep` knows for this process's."""
    return f".tmp-{machine()}-{os.getpid()}-{secrets.token_hex(4)}"


def machine() -> str:
    """Eight hex digits for the space of process ids that we live in: host, start of the system, container.

    A hash, since host names must not end up in files; without it a shared folder would take another
    machine's live process for a dead one.
    """
    marks = [platform.node()]
    with suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        marks.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:8]


def _abandoned(path: Path) -> bool:
    match path.name.split("-"):
        case [".tmp", where, pid, _] if where == machine() and pid.isdigit() and os.name == "posix":
            return not alive(int(pid))
    try:
        return time.time() - path.stat().st_mtime > _DAY
    except OSError:
        return False


def alive(pid: int) -> bool:
    """Whether a process of this machine is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
