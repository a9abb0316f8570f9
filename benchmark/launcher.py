"""Which of several processes this one is, as torch's and accelerate's launchers say in the environment.

Nothing heavy is imported, so that it can be asked before torch is.
"""

from __future__ import annotations

import os


def processes() -> int:
    """Number of processes that the launcher started; 1 without a launcher."""
    return max(1, _number("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def rank() -> int:
    """Number of this process, from 0."""
    return _number("RANK", 0)


def is_first() -> bool:
    """Whether this process is the one that speaks, scores, and writes records."""
    return rank() == 0


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else default
