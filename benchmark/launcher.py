"""Reads rank and number of processes from the environment variables that torchrun and accelerate set.

No large libraries are imported, so that it can be used before torch is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def processes() -> int:
    """Return the number of processes that the launcher started; 1 without a launcher."""
    return max(1, _number("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def rank() -> int:
    """Return the rank of this process; 0 without a launcher."""
    return _number("RANK", 0) if processes() > 1 else 0


def is_first() -> bool:
    """Return whether this is the first process, which prints, scores, and writes records."""
    return rank() == 0


@contextmanager
def hidden_unless_launched() -> Iterator[None]:
    """Unset the launcher's variables within the block, unless a launcher has started several processes.

    Batch scripts export WORLD_SIZE for programs that they start later. accelerate would then wait for further processes
    that do not exist, or fail.
    """
    hidden = {} if processes() > 1 else {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ |= hidden


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else default
