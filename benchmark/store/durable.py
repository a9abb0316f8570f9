"""Durable, atomic writes of files and folders: what a command has reported as done is completely on the disk.

A file or folder is written under a temporary name next to its final path, fsynced and renamed; then the folder that
contains it is fsynced too. A process that is killed at any point leaves the complete file or nothing, and possibly a
temporary file that a later start removes. This costs one fsync per file and one per folder: milliseconds each, which is
little compared with minutes of computation.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
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
_TEMPORARY = re.compile(r"\.tmp-(?P<machine>[0-9a-f]{8})-(?P<pid>[0-9]{1,10})-[0-9a-f]{8}")
"""Names that `temporary_name` returns."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """Return whether `error` means that the disk or the quota is full.

    Some libraries, such as safetensors, report the operating system's error only in the text of their exceptions.
    """
    return getattr(error, "errno", None) in _FULL or "No space left on device" in str(error)


def explained(error: BaseException, path: Path) -> StoreError:
    """Convert `error`, raised while writing `path`, to a StoreError that names the path and says what to do."""
    elsewhere = f"set {HOME_VARIABLE} to a folder"
    if is_full(error):
        return StoreError(
            f"The disk is full while writing {path}: free some space or {elsewhere} on another disk, "
            "then start again (finished results are saved)."
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
    """Convert every OSError of the block to a StoreError that names `path`."""
    try:
        yield
    except OSError as error:
        raise explained(error, path) from error


@contextmanager
def filling(folder: Path, path: Path) -> Iterator[None]:
    """Convert write errors of a block of third-party code that fills `folder` to a StoreError that names `path`.

    Only a full disk and denied permissions for files under `folder` are converted; other errors pass through unchanged.
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
    """Flush the contents of the file `path` to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush the names of the files in the folder `path` to the disk, if the operating system supports this."""
    if os.name != "posix":
        return
    try:
        sync_file(path)
    except OSError as error:  # some network file systems cannot sync folders and do not need it
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def make_folder(path: Path) -> None:
    """Create the folder `path` and its parents durably; do nothing if it exists."""
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
    """Write `data` to `path`, replacing an existing file atomically. Raises StoreError if that fails."""
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
    """Write `header` and `rows` as UTF-8 CSV to `path` atomically, and return `path`. Raises StoreError."""
    write_bytes(path, csv_text(header, rows).encode())
    return path


@contextmanager
def alone(folder: Path, wait: bool = True) -> Iterator[None]:
    """Create `folder` and lock it, so that only one process at a time runs the block.

    Other processes wait, or get a StoreError if `wait` is False. The lock is a hidden file next to the folder; the file
    is never removed, but a process that dies releases the lock. File systems without locks are not protected.
    """
    from filelock import FileLock

    with storing(folder):
        make_folder(folder)
    # A soft lock would outlive a killed process, so it is not used even if the file system supports no other lock.
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
    except Timeout as error:  # a subclass of OSError, which `alone` would suppress
        raise StoreError(f"Another process is using {folder}: wait until it ends, or stop it.") from error


def temporary_folder(parent: Path, mode: int = 0o777) -> Path:
    """Create an empty folder in `parent` that `sweep` will remove if this process dies.

    A private folder, of mode 0o700, has exactly this mode, whatever the umask of the process is.
    """
    make_folder(parent)
    folder = parent / temporary_name()
    os.mkdir(folder, mode)
    if mode == 0o700:
        os.chmod(folder, mode)
    return folder


def publish(temporary: Path, final: Path) -> None:
    """Rename the folder `temporary` to `final`. Raises FileExistsError if `final` exists and is not empty."""
    make_folder(final.parent)
    try:
        os.rename(temporary, final)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final)) from None
        raise
    sync_folder(final.parent)


def is_outside(path: Path, home: Path) -> bool:
    """Return whether `path`, which begins with `home`, is behind a link that leads out of `home`.

    Nothing there is deleted or moved: a shared folder can contain links to any folder of a user.
    """
    return not path.parent.resolve().is_relative_to(home.resolve())


def remove(folder: Path) -> None:
    """Remove `folder` and its contents; files that cannot be removed are left without an error."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove temporary files and folders in `parent` that no process needs any more.

    These are the ones of dead processes of this machine, and the ones of other machines that are older than a day.
    """
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
    """Return a temporary name that contains this process's machine and id, so that `sweep` recognises its owner."""
    return f".tmp-{machine()}-{os.getpid()}-{secrets.token_hex(4)}"


def machine() -> str:
    """Return eight hexadecimal digits that identify the space of process ids: host, boot and container.

    Without them, a live process of a different machine could be taken for a dead one in a shared folder. They are a
    hash because host names must not end up in files.
    """
    marks = [platform.node()]
    with suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        marks.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:8]


def _abandoned(path: Path) -> bool:
    name = _TEMPORARY.fullmatch(path.name)
    if name is None:  # someone else's file, because some of these folders are the user's
        return False
    if name["machine"] == machine() and os.name == "posix":
        return not alive(int(name["pid"]))
    try:
        return time.time() - path.stat().st_mtime > _DAY
    except OSError:
        return False


def alive(pid: int) -> bool:
    """Return whether this machine has a process with the id `pid` that has not ended.

    In a container whose first process collects no children, a killed process stays in the list of processes (as a
    "zombie"), and signals can be sent to it. Its state tells that it has ended.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    with suppress(OSError, IndexError):
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
        return state not in (b"Z", b"X")
    return True
