"""Defines suites from TOML files, which name a list of prompts and the metrics that score their pictures."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.api.declarations import Column, Use
from benchmark.api.suite import Suite
from benchmark.errors import DataError
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


class TomlSuite(Suite):
    """A suite that a TOML file defines. DataError if the file or its list of prompts is invalid."""

    def __init__(self, path: Path) -> None:
        definition = _read(path)
        self.name, self.summary, self.brings = definition.name, definition.summary, tuple(definition.brings)
        self.forgets, self.explicit = definition.forgets, definition.explicit
        self.metrics = [use if isinstance(use, str) else Use(**use.model_dump()) for use in definition.metrics]
        self.columns = [Column(**column.model_dump()) for column in definition.columns]
        self.list_path = path.parent / Path(definition.prompts).expanduser()
        self.rows = read_prompts(self.list_path)
        self.checksum = hashlib.sha256(self.list_path.read_bytes()).hexdigest()
        """The sha256 of the list of prompts."""

    def prompts(self, testbed: Testbed, concept: Concept) -> Sequence[Prompt]:
        return self.rows


def _read(path: Path) -> SuiteFile:
    try:
        settings: JsonObject = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(f"The suite {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:  # also raised if the file is not UTF-8
        raise DataError(f"The suite {path} is not TOML ({error}).") from error
    try:
        return SuiteFile(**settings)
    except ValidationError as error:
        raise DataError(f"The suite {path}: {_sentence(error)}.") from error


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("str", "UseTable"))
    if first["type"] == "extra_forbidden":
        return f"it has no setting '{where}'; the settings are {', '.join(SuiteFile.model_fields)}"
    if first["type"] == "missing":
        return f"setting '{where}' is missing"
    return f"'{where}': {first['msg'][:1].lower()}{first['msg'][1:]}"
