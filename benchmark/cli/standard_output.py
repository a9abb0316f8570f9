"""Error handling of standard output: if it is full or closed, one sentence says so; a closed pipe ends silently."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, Any

from benchmark.errors import StoreError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


def refuse_closed() -> None:
    """Raise StoreError if standard output is closed. If standard error is closed, its messages are discarded."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # used until the process ends
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        raise StoreError("Standard output is closed: open it, or redirect it to a file (> out.txt).")


class StandardOutput(FileIO):
    """File of standard output that raises StoreError if a write fails."""

    def write(self, data: Buffer, /) -> int | None:  # type: ignore[override]  # typeshed's IO is text or bytes
        try:
            return super().write(data)
        except BrokenPipeError:  # `main` ends the command silently
            raise
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            message = f"Standard output cannot be written ({reason}): redirect it to another file. Results are saved."
            raise StoreError(message) from error


class StandardError(FileIO):
    """File of standard error that ignores failed writes: a run continues if its messages cannot be shown."""

    def write(self, data: Buffer, /) -> int | None:  # type: ignore[override]  # typeshed's IO is text or bytes
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def install() -> None:
    """Replace the interpreter's standard streams by these classes, if they are files, pipes or terminals.

    Characters that the stream's encoding lacks, such as arrows, are printed as "?".
    """
    for name, kind in (("stdout", StandardOutput), ("stderr", StandardError)):
        stream = getattr(sys, name)
        if not isinstance(stream, TextIOWrapper):
            continue
        stream.flush()
        raw = kind(stream.fileno(), "w", closefd=False)
        buffer: Any = BufferedWriter(raw) if isinstance(stream.buffer, BufferedWriter) else raw  # raw with `python -u`
        buffering: dict[str, Any] = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
        setattr(sys, name, TextIOWrapper(buffer, stream.encoding, "replace", **buffering))


def drop() -> None:
    """Discard the buffered output, so that the interpreter does not fail to flush it at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
