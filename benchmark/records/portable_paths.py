"""Writes paths without the name of the user's home, so that records can be published."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def portable(value: Any) -> Any:
    """Return a JSON value in which `~` replaces the user's home at the start of every path. NaN and infinities, which
    JSON does not have, become texts.

    `"--set=rate=1"` is unchanged, and `"objective=<home>/my.py:Mine"` becomes `"objective=~/my.py:Mine"`.
    """
    if isinstance(value, str):
        for home in _homes():
            value = re.sub(rf"""(?<![^=,\s"'\[]){re.escape(home)}(?=/|$)""", "~", value)
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: portable(entry) for key, entry in value.items()}
    return [portable(entry) for entry in value] if isinstance(value, list | tuple) else value


def _homes() -> list[str]:
    """Return the user's home as written and as resolved, the longer one first; none if it is not known."""
    try:
        home = Path.home()
    except RuntimeError:
        return []
    paths = {str(home), str(home.resolve())} - {home.anchor}
    return sorted(paths, key=len, reverse=True)


def shell_text(words: Sequence[str]) -> str:
    """Return a command line to paste into a shell, in which `~/` at the start of a word stands for the home."""
    return " ".join(
        "~/" + shlex.quote(word[2:]) if word[:2] == "~/" and word[2:] else shlex.quote(word) for word in words
    )
