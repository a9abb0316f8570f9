"""Which of several processes this one is, as torch's and accelerate's launchers say in the environment.

Nothing heavy is imported, so that it can be asked before torch is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def processes() -> int:
    """Number of processes that the launcher started; 1 without a launcher."""
    return max(1, _number("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def rank() -> int:
    """Number of this process, from 0; 0 without a launcher."""
    return _number("RANK", 0) if processes() > 1 else 0


def is_first() -> bool:
    """Whether this process is the one that speaks, scores, and writes records."""
    return rank() == 0


@contextmanager
def hidden_unless_launched() -> Iterator[None]:
    """Within the block the launcher's variables are unset if no launcher started several processes.

    Batch scripts export WORLD_SIZE for what they start later, and accelerate would wait for, or fail on, the others.
    """
    hidden = {} if processes() > 1 else {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ |= hidden


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else default
