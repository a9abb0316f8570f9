"""Reads and checks what all testbed files have: a name, and the testbed that they inherit from (`like`)."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.errors import DataError
from benchmark.json_types import JsonObject
from benchmark.registry import names

ROOTS = ("sd21", "mini")
"""Testbeds that a file can be `like`, in addition to other files."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ALLOWED = "only letters A to Z, digits, '.', '_' and '-', at most 64, beginning with a letter or digit"
"""NAME in words, for messages."""


class Table(BaseModel):
    """Settings of a testbed file."""

    # Strict, because TOML has types: "2" or true in place of a number is a mistake.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


def read_table(path: Path) -> JsonObject:
    """Read the settings of a testbed file. DataError if it cannot be read, is not TOML or has an empty string."""
    try:
        settings: JsonObject = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(
            f"The testbed {path} cannot be read ({error.strerror}): give the path of a TOML file."
        ) from error
    except (ValueError, RecursionError) as error:  # the first also if the file is not UTF-8
        raise DataError(f"The testbed {path} is not TOML ({error}).") from error
    if (empty := _empty(settings)) is not None:
        raise DataError(f"The testbed {path}: '{empty}' is empty; give it a value, or leave the line out.")
    check_texts(path, settings, ("like",))
    return settings


def check_texts(path: Path, settings: JsonObject, keys: tuple[str, ...]) -> None:
    """Raise DataError if one of these settings exists but is not a string."""
    for key in keys:
        if not isinstance(value := settings.get(key, ""), str):
            raise DataError(f"The testbed {path}: '{key}' is {value!r}, but must be a string.")


def parents(path: Path) -> list[str]:
    """Return what a testbed file inherits from, nearest first: names of files, and "sd21" or "mini" at the end, if any.

    DataError if a file cannot be read, or inherits from itself.
    """
    inherited: list[str] = []
    seen_files = {path.resolve()}
    while (like := read_table(path).get("like")) is not None:
        inherited.append(like)
        if like in ROOTS:
            break
        child, path = path, path.resolve().parent / like
        if path.resolve() in seen_files:
            raise DataError(
                f"The testbed {child} is like {like}, which inherits from itself: choose a different testbed."
            )
        if not path.is_file():
            raise DataError(
                f"The testbed {child} has like = {json.dumps(like)}, but the file {path} does not exist: name an "
                f"existing testbed file, or a shipped testbed ({', '.join(ROOTS)})."
            )
        seen_files.add(path.resolve())
    return inherited


def check_name(place: Path | str, name: str) -> None:
    """Raise DataError if a testbed's name is not a valid folder name, or is that of an installed testbed."""
    if not re.match(NAME, name):
        raise DataError(f"The testbed {place} has the name {json.dumps(name)}, but a name may have {ALLOWED}.")
    installed = {known_name.casefold(): known_name for known_name in names("testbeds")}
    # Folders of results have this name, and some file systems ignore case.
    if taken := installed.get(name.casefold()):
        raise DataError(
            f"The testbed {place} has the name of installed testbed '{taken}', so results of both would be mixed: "
            f'set a different name, such as name = "my-{taken}".'
        )


def sentence(error: ValidationError, path: Path) -> str:
    """Return what is wrong with a setting, without a full stop."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "string_pattern_mismatch":
        if first["input"] != path.stem:
            return f"'{where}' is {json.dumps(first['input'])}, but may have {ALLOWED}"
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:64] or "mine"
        return f'its name is that of its file, but a name may have {ALLOWED}: set name = "{plain}"'
    value = f" and is {json.dumps(first['input'], default=str)}" if first["type"].endswith("_type") else ""
    return f"'{where}': {first['msg'][:1].lower()}{first['msg'][1:]}{value}"


def _empty(value: Any, name: str = "") -> str | None:
    """Return the dotted name of the first empty or blank string in a table or list; None if there is none."""
    if isinstance(value, str):
        return None if value.strip() else name
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    empty_names = (_empty(item, f"{name}.{key}" if name else str(key)) for key, item in items)
    return next((empty_name for empty_name in empty_names if empty_name is not None), None)
