"""Reads TOML files of testbeds that are like `mini` but have different weights, targets, prompts or sampling settings.

No torch is imported, so that an invalid file is reported at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field, ValidationError

from benchmark.errors import DataError, PalimpsestError
from benchmark.json_types import JsonObject
from benchmark.registry import unknown
from benchmark.testbeds.mini import prompts as mini_prompts
from benchmark.testbeds.mini.artists import ARTISTS
from benchmark.testbeds.toml_files import NAME, Table, check_name, check_texts, read_table, sentence
from prompts.concepts import Concept
from prompts.lists import Prompt, read_prompts

WEIGHTS = Path(__file__).parent / "weights"
PARTS = ("targets", "neighbours", "kept", "implicit", "probes")


class Definition(Table):
    """Settings of a testbed that is like mini. The defaults are those of mini."""

    name: str = Field(description="name in records and tables", pattern=NAME)
    summary: str = Field(default="", description="one-line description")
    license: str = Field(default="mit", description="licence of the weights, as model cards name it")
    weights: Path = Field(default=WEIGHTS, description="folder of weights written by `bench testbed build mini`")
    targets: list[str] = Field(default=[], description="artists that are forgotten by default")
    prompts: Path | None = Field(
        default=None, description="CSV with id, text, seed, part, target: the prompts of suite artists"
    )
    steps: int = Field(default=20, description="sampling steps", ge=1)
    guidance: float = Field(default=2.5, description="classifier-free guidance", ge=0)
    flops: float = Field(default=2.2e13, description="default budget, U-Net FLOPs of all training passes", gt=0)


def read(path: Path) -> Definition:
    """Read a testbed file, and make the paths in it absolute. DataError if it is invalid."""
    settings = _settings(path)
    settings.setdefault("name", path.stem)
    settings.setdefault("summary", f"mini with the settings of {path.name}")
    try:
        definition = Definition(**settings)
        mini_prompts.style_concept(tuple(definition.targets))
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            nearest = unknown("setting", str(first["loc"][0]), ["like", *Definition.model_fields])
            raise DataError(f"The testbed {path}, which is like mini: {str(nearest).rstrip('.')}.") from error
        raise DataError(f"The testbed {path}: {sentence(error, path)}.") from error
    except PalimpsestError as error:
        raise DataError(f"The testbed {path}, 'targets': {error}") from error
    check_name(path, definition.name)
    if definition.prompts is not None:
        check_prompts(definition.prompts)
    return definition


def check_prompts(path: Path) -> None:
    """Raise DataError if a prompt has a part or a painter that suite `artists` does not have on mini."""
    names = {artist.name for artist in ARTISTS}
    for prompt in read_prompts(path):
        if prompt.part not in PARTS or prompt.target not in names:
            raise DataError(
                f"{path}, {prompt.id} has part '{prompt.part}' and target '{prompt.target}': the part must be one of "
                f"{', '.join(PARTS)}, and the target one that `bench list artists` shows."
            )


def prompts_for(rows: Sequence[Prompt], concept: Concept, place: str) -> list[Prompt]:
    """Return the prompts of a list with the part that the concept assigns to their painter.

    Parts "implicit" and "probes" are restricted to targets. DataError if targets or kept painters have no prompt.
    """
    prompts = []
    for row in rows:
        if row.part in ("implicit", "probes"):
            prompts += [row] if row.target in concept.targets else []
            continue
        part = "neighbours" if row.target in concept.neighbours else "kept"
        prompts.append(replace(row, part="targets" if row.target in concept.targets else part))
    parts = {prompt.part for prompt in prompts}
    for name in concept.targets:
        if not any(prompt.target == name and prompt.part == "targets" for prompt in prompts):
            raise DataError(
                f"{place} has no prompt for {name}, who is a target: add some, or choose different --targets."
            )
    if "kept" not in parts and "neighbours" not in parts:
        raise DataError(f"{place} has no prompt for a kept painter: add some, to measure what erasure damages.")
    return prompts


def _settings(path: Path) -> JsonObject:
    """Return the settings of a file and those that it inherits from other files."""
    settings = read_table(path)
    parent_name = settings.pop("like")
    folder = path.resolve().parent
    check_texts(path, settings, ("weights", "prompts"))
    for key in ("weights", "prompts"):
        if isinstance(settings.get(key), str):
            settings[key] = (folder / Path(settings[key]).expanduser()).resolve()
    inherited = {} if parent_name == "mini" else _settings(folder / parent_name)
    return {key: value for key, value in inherited.items() if key not in ("name", "summary")} | settings
