"""The definition of a testbed that is like `mini` in a TOML file: other weights, targets, prompts or sampling.

No torch is imported, so that a wrong file is refused at once.
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
    """A testbed in mini's world. What a file leaves out is mini's own."""

    name: str = Field(description="as records and tables call it", pattern=NAME)
    summary: str = Field(default="", description="one line for people")
    license: str = Field(default="mit", description="licence of the weights, as model cards name it")
    weights: Path = Field(default=WEIGHTS, description="folder of weights as `bench testbed build mini` makes them")
    targets: list[str] = Field(default=[], description="artists that are forgotten unless --targets says otherwise")
    prompts: Path | None = Field(
        default=None, description="CSV with id, text, seed, part, target: the prompts of suite artists"
    )
    steps: int = Field(default=20, description="steps of sampling", ge=1)
    guidance: float = Field(default=2.5, description="classifier-free guidance", ge=0)
    flops: float = Field(default=2.2e13, description="default budget, U-Net FLOPs of all training passes", gt=0)


def read(path: Path) -> Definition:
    """The testbed that `path` defines, paths in it made absolute. DataError, in one sentence, for a wrong file."""
    settings = _settings(path)
    settings.setdefault("name", path.stem)
    settings.setdefault("summary", f"mini, but for what {path.name} says")
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
    """DataError for a list with a part or a painter that suite `artists` does not have on mini."""
    names = {artist.name for artist in ARTISTS}
    for prompt in read_prompts(path):
        if prompt.part not in PARTS or prompt.target not in names:
            raise DataError(
                f"{path}, {prompt.id}: a prompt of suite artists has a part of {', '.join(PARTS)} and a target that "
                f"`bench list artists` shows; it has '{prompt.part}' and '{prompt.target}'."
            )


def prompts_for(rows: Sequence[Prompt], concept: Concept, place: str) -> list[Prompt]:
    """The prompts of a list for a concept: each has the part that the concept gives to its painter.

    "implicit" and "probes" are asked of targets alone. DataError for a list without a prompt for a target.
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
            raise DataError(f"{place} has no prompt for {name}, who is to be forgotten: add some, or choose --targets.")
    if "kept" not in parts and "neighbours" not in parts:
        raise DataError(f"{place} has no prompt for a painter who stays: add some, to see what erasing breaks.")
    return prompts


def _settings(path: Path) -> JsonObject:
    """The settings in a file, and those it inherits from another file; the chain ends at mini."""
    settings = read_table(path)
    parent_name = settings.pop("like")
    folder = path.resolve().parent
    check_texts(path, settings, ("weights", "prompts"))
    for key in ("weights", "prompts"):
        if isinstance(settings.get(key), str):
            settings[key] = (folder / Path(settings[key]).expanduser()).resolve()
    inherited = {} if parent_name == "mini" else _settings(folder / parent_name)
    return {key: value for key, value in inherited.items() if key not in ("name", "summary")} | settings
