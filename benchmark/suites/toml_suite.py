"""Defines suites from TOML files, which name a list of prompts and the metrics that score their pictures."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.api.declarations import Column, Use
from benchmark.api.suite import Suite
from benchmark.errors import DataError, has_controls
from benchmark.json_types import JsonObject
from prompts.concepts import Kind
from prompts.lists import Prompt, read_prompts

if TYPE_CHECKING:
    from benchmark.api.testbed import Testbed
    from prompts.concepts import Concept


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UseTable(_Table):
    """A metric and the parts of the prompts that it scores. The fields are those of `benchmark.api.Use`."""

    metric: str
    parts: tuple[str, ...] = ()
    cell: str = ""
    header: str = ""


class ColumnTable(_Table):
    """A column. The fields are those of `benchmark.api.Column`, except `higher_is_better` and `unit`."""

    key: str
    header: str
    format: str = ".2f"
    cell: str = ""
    section: str = ""
    relative: bool = False


class SuiteFile(_Table):
    """All settings of a suite's file."""

    name: str = Field(min_length=1)
    summary: str = Field(min_length=1)
    prompts: str = Field(min_length=1, description="CSV file, relative to this one: id,text,seed,part,target,content")
    metrics: list[str | UseTable] = Field(min_length=1)
    columns: list[ColumnTable] = []
    brings: list[str] = []
    forgets: Kind = "style"
    explicit: bool = False


class ListSuite(Suite):
    """A suite whose prompts are the rows of a CSV file. DataError if the file is invalid."""

    repeatable = True
    """Whether its scores depend only on files whose checksums are recorded, so that a repeated run can be skipped."""

    def __init__(self, list_path: Path) -> None:
        self.list_path = list_path
        self.rows = read_prompts(list_path)
        self.checksum = hashlib.sha256(list_path.read_bytes()).hexdigest()
        """The sha256 of the list of prompts."""

    def prompts(self, testbed: Testbed, concept: Concept) -> Sequence[Prompt]:
        return self.rows


class TomlSuite(ListSuite):
    """A suite that a TOML file defines. DataError if the file or its list of prompts is invalid."""

    def __init__(self, path: Path) -> None:
        definition = read_settings(path, SuiteFile, "suite")
        super().__init__(path.parent / Path(definition.prompts).expanduser())
        self.name, self.summary, self.brings = definition.name, definition.summary, tuple(definition.brings)
        self.forgets, self.explicit = definition.forgets, definition.explicit
        self.metrics = [use if isinstance(use, str) else Use(**use.model_dump()) for use in definition.metrics]
        self.columns = [Column(**column.model_dump()) for column in definition.columns]


Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(path: Path, kind: type[Settings], what: str) -> Settings:
    """Return the settings of a TOML file.

    Args:
        path: the file.
        kind: the pydantic model of its settings.
        what: what the file defines, for messages: "suite" or "concept".

    Raises:
        DataError: the file cannot be read, is not TOML, or has a wrong, unknown or missing setting.
    """
    return checked(kind, read_toml(path, what), f"The {what} {path}")


def read_toml(path: Path, what: str) -> JsonObject:
    """Return the content of a TOML file; `what` names it in messages. DataError if it is not readable TOML."""
    try:
        settings: JsonObject = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(
            f"The {what} {path} cannot be read ({error.strerror}): give the path of a TOML file."
        ) from error
    except (ValueError, RecursionError) as error:  # the first also if the file is not UTF-8
        raise DataError(f"The {what} {path} is not TOML ({error}).") from error
    if any(map(has_controls, _texts(settings))):
        raise DataError(f"The {what} {path} contains a control character, such as an escape: write the text without.")
    return settings


def _texts(value: object) -> Iterator[str]:
    """Yield all texts and keys of nested tables."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def checked(kind: type[Settings], values: JsonObject, where: str, table: str = "") -> Settings:
    """Return settings as a pydantic model. DataError, which starts with `where`, if one is wrong, unknown or missing.

    `table` is the name of the table of the TOML file that holds the settings; empty for the top level.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise DataError(f"{where}: {_sentence(error, kind, table)}.") from error


def _sentence(error: ValidationError, kind: type[BaseModel], table: str) -> str:
    faults = error.errors()
    missing = [str(fault["loc"][-1]) for fault in faults if fault["type"] == "missing"]
    # A misspelt setting is both unknown and missing: the unknown name is the one that the user sees in the file.
    misspelt = [
        fault
        for fault in faults
        if fault["type"] == "extra_forbidden" and get_close_matches(str(fault["loc"][-1]), missing)
    ]
    first = (misspelt or faults)[0]
    parts = [part for part in first["loc"] if part not in ("str", "int", "UseTable", "list[str]")]
    where = ".".join(map(str, [table, *parts] if table else parts))
    if first["type"] == "extra_forbidden":
        names = [field.alias or name for name, field in kind.model_fields.items()]
        close = get_close_matches(str(parts[-1]), names, n=1)
        guess = f" (did you mean '{close[0]}'?)" if close else ""
        of_table = f"of {table} " if table else ""
        return f"it has no setting '{where}'{guess}; the settings {of_table}are {', '.join(names)}"
    if first["type"] == "missing":
        return f"setting '{where}' is missing"
    return f"'{where}': {first['msg'][:1].lower()}{first['msg'][1:]}"
