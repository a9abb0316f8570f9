"""What all testbed files have in common: TOML, a name of their own, and another testbed that they are `like`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from benchmark.errors import DataError
from benchmark.registry import names

ROOTS = ("sd21", "mini")
"""Testbeds that a file may be `like`, beside other files."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def read_table(path: Path) -> dict[str, Any]:
    """The settings in a testbed file. DataError for a file that cannot be read, is no TOML or has an empty text."""
    try:
        settings: dict[str, Any] = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(f"The testbed {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:  # also what is not UTF-8
        raise DataError(f"The testbed {path} is not TOML ({error}).") from error
    if (empty := _empty(settings)) is not None:
        raise DataError(f"The testbed {path}: '{empty}' is empty; give it a value, or leave the line out.")
    like = settings.get("like")
    if like is not None and not isinstance(like, str):
        raise DataError(f"The testbed {path}: 'like' is {like!r}, and should be a text.")
    return settings


def parents(path: Path) -> list[str]:
    """What a testbed file inherits from, nearest first: names of files, and last "sd21", "mini" or nothing.

    DataError for a file that cannot be read or is like itself.
    """
    inherited: list[str] = []
    seen_files = {path.resolve()}
    while (like := read_table(path).get("like")) is not None:
        inherited.append(like)
        if like in ROOTS:
            break
        child, path = path, path.resolve().parent / like
        if path.resolve() in seen_files:
            raise DataError(f"The testbed {child} is like {like}, which is like itself: name another.")
        if not like.endswith(".toml") and not path.exists():
            raise DataError(
                f"The testbed {child} is like '{like}', which cannot be read: name {' or '.join(ROOTS)}, or a "
                "file, my.toml."
            )
        seen_files.add(path.resolve())
    return inherited


def check_name(place: Path | str, name: str) -> None:
    """DataError for a testbed whose name is no name of a folder, or is that of an installed testbed."""
    if not re.match(NAME, name):
        raise DataError(
            f"The testbed {place} is called {name!r}: a name has letters, digits, dots, dashes and underscores, at "
            "most 64, and begins with a letter or digit."
        )
    installed = {known_name.casefold(): known_name for known_name in names("testbeds")}
    # Folders with results are called by it, and some disks ignore case.
    if taken := installed.get(name.casefold()):
        raise DataError(
            f"The testbed {place} is called '{name}', and '{taken}' is an installed testbed, whose results "
            f'would be mixed with its own: write another name into it, such as name = "my-{taken}".'
        )


def _empty(value: Any, name: str = "") -> str | None:
    """The dotted name of the first text in a table or list that is empty or blank; None where there is none."""
    if isinstance(value, str):
        return None if value.strip() else name
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    empty_names = (_empty(item, f"{name}.{key}" if name else str(key)) for key, item in items)
    return next((empty_name for empty_name in empty_names if empty_name is not None), None)
