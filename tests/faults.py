"""Faults injected at every stage of writing, one run a stage."""

import errno
import os
from collections.abc import Callable
from typing import Any

from benchmark.store import durable

FULL = OSError(errno.ENOSPC, "No space left on device")
WRITING = ("mkdir", "open", "fsync", "rename", "replace", "unlink")


def fault_at(count: int, error: BaseException, monkeypatch: Any) -> list[str]:
    """Let the `count`-th call of any writing system function raise `error`; returns the names called so far, live."""
    calls: list[str] = []

    def watched(name: str, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if len(calls) == count:
                raise error
            return function(*args, **kwargs)

        return call

    for name in WRITING:
        monkeypatch.setattr(os, name, watched(name, getattr(os, name)))
    return calls


def dead_name() -> str:
    """The temporary name of a process that has ended."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return durable.temporary_name().replace(f"-{os.getpid()}-", f"-{child}-")


def failing(name: str, error: OSError, monkeypatch: Any) -> None:
    """Let every call of `os.<name>` raise `error` for the path it was given."""

    def call(path: Any, *args: Any, **kwargs: Any) -> None:
        raise type(error)(error.errno, error.strerror, str(path))

    monkeypatch.setattr(os, name, call)


def outcome(act: Callable[[], Any], *expected: type[BaseException]) -> BaseException | None:
    """The error that `act` raised, one of `expected`, or None."""
    try:
        act()
    except expected as error:
        return error
    return None
