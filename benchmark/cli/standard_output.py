"""A full or closed standard output is told in one sentence; a closed pipe (`| head`) ends a command in silence."""

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
    """StoreError where standard output is closed. Where standard error is, what would be said there is dropped."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # it stays open
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        raise StoreError("Standard output is closed: open it, or send it to a file (> out.txt).")


class StandardOutput(FileIO):
    """Standard output's file, whose failed writes are StoreErrors."""

    def write(self, data: Buffer, /) -> int | None:  # type: ignore[override]  # typeshed's IO is text or bytes
        try:
            return super().write(data)
        except BrokenPipeError:  # which ends a command quietly
            raise
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            message = f"Standard output cannot be written ({reason}): send it elsewhere; what was made is kept."
            raise StoreError(message) from error


class StandardError(FileIO):
    """Standard error's file, whose failed writes are dropped: work must not end because nobody reads how it goes."""

    def write(self, data: Buffer, /) -> int | None:  # type: ignore[override]  # typeshed's IO is text or bytes
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def install() -> None:
    """Put both in the place of the interpreter's own streams, where those are files, pipes or terminals.

    An encoding without arrows or accents shows "?" for them.
    """
    for name, kind in (("stdout", StandardOutput), ("stderr", StandardError)):
        stream = getattr(sys, name)
        if not isinstance(stream, TextIOWrapper):
            continue
        stream.flush()
        raw = kind(stream.fileno(), "w", closefd=False)
        whole: Any = BufferedWriter(raw) if isinstance(stream.buffer, BufferedWriter) else raw  # raw with `python -u`
        buffering: dict[str, Any] = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
        setattr(sys, name, TextIOWrapper(whole, stream.encoding, "replace", **buffering))


def drop() -> None:
    """Send what is left in standard output nowhere, so that the interpreter does not fail on it when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
