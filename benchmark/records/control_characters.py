"""Finds control characters in the JSON of a record, which can be from other people and is shown on terminals."""

from __future__ import annotations

import re
from typing import Any

from benchmark.errors import has_controls, without_controls

_POSSIBLE = re.compile(rb"\\[bfnrtu]|\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]")
FREE = ("command", "config", "made", "plugins")
"""Fields whose texts may have line breaks and tabs. The other texts are parts of table rows."""


def may_have_controls(data: bytes) -> bool:
    """Return whether JSON text has escapes or bytes that control characters can be from; almost no record has."""
    return _POSSIBLE.search(data) is not None


def find_controls(value: Any, where: str = "") -> str | None:
    """Return where a text of a record has control characters, which terminals would execute; None if nowhere.

    Line breaks and tabs are allowed only in commands and settings, because other texts are parts of table rows.
    """
    if isinstance(value, str):
        is_free = where.partition(".")[0] in FREE
        return where if has_controls(value) or (not is_free and ("\n" in value or "\t" in value)) else None
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        name = f"{where}.{key}" if where else str(key)
        if (place := find_controls(str(key), "a key") or find_controls(inner, name)) is not None:
            return without_controls(place)
    return None
