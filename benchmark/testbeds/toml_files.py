"""What all testbed files have in common: TOML, a name of their own, and another testbed that they are `like`."""

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
"""Testbeds that a file may be `like`, beside other files."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ALLOWED = "letters A to Z, digits, '.', '_' and '-' alone, at most 64, the first a letter or digit"
"""What NAME says, in words."""


class Table(BaseModel):
    """Settings of a testbed file."""

    # Strict, since TOML has kinds of its own: "2" or true are slips where a number is meant.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


def read_table(path: Path) -> JsonObject:
    """The settings in a testbed file. DataError for a file that cannot be read, is no TOML or has an empty text."""
    try:
        settings: JsonObject = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(f"The testbed {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:  # also what is not UTF-8
        raise DataError(f"The testbed {path} is not TOML ({error}).") from error
    if (empty := _empty(settings)) is not None:
        raise DataError(f"The testbed {path}: '{empty}' is empty; give it a value, or leave the line out.")
    check_texts(path, settings, ("like",))
    return settings


def check_texts(path: Path, settings: JsonObject, keys: tuple[str, ...]) -> None:
    """DataError for one of these settings that is there and no text."""
    for key in keys:
        if not isinstance(value := settings.get(key, ""), str):
            raise DataError(f"The testbed {path}: '{key}' is {value!r}, and should be a text.")


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
        if not path.is_file():
            raise DataError(
                f"The testbed {child} says like = {json.dumps(like)}, and there is no file {path}: name another "
                f"testbed file, or a shipped one ({', '.join(ROOTS)})."
            )
        seen_files.add(path.resolve())
    return inherited


def check_name(place: Path | str, name: str) -> None:
    """DataError for a testbed whose name is no name of a folder, or is that of an installed testbed."""
    if not re.match(NAME, name):
        raise DataError(f"The testbed {place} is called {json.dumps(name)}, and its name may have {ALLOWED}.")
    installed = {known_name.casefold(): known_name for known_name in names("testbeds")}
    # Folders with results are called by it, and some disks ignore case.
    if taken := installed.get(name.casefold()):
        raise DataError(
            f"The testbed {place} is called '{name}', and '{taken}' is an installed testbed, whose results "
            f'would be mixed with its own: write another name into it, such as name = "my-{taken}".'
        )


def sentence(error: ValidationError, path: Path) -> str:
    """What is wrong with a setting, without a full stop."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "string_pattern_mismatch":
        if first["input"] != path.stem:
            return f"'{where}' is {json.dumps(first['input'])}, and may have {ALLOWED}"
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:64] or "mine"
        return f'it is called after its file, and a testbed\'s name may have {ALLOWED}: write name = "{plain}" into it'
    value = f" and is {json.dumps(first['input'], default=str)}" if first["type"].endswith("_type") else ""
    return f"'{where}': {first['msg'][:1].lower()}{first['msg'][1:]}{value}"


def _empty(value: Any, name: str = "") -> str | None:
    """The dotted name of the first text in a table or list that is empty or blank; None where there is none."""
    if isinstance(value, str):
        return None if value.strip() else name
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    empty_names = (_empty(item, f"{name}.{key}" if name else str(key)) for key, item in items)
    return next((empty_name for empty_name in empty_names if empty_name is not None), None)
