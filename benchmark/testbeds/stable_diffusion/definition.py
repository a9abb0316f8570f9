"""Reads testbeds from TOML files. No torch is imported, so that an invalid file is reported at once."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from benchmark.api.testbed import TEXT_TOWER, Testbed
from benchmark.errors import DataError
from benchmark.json_types import JsonObject
from benchmark.plugin_source.classes import literal_keys
from benchmark.registry import entry_points_of, load, unknown
from benchmark.testbeds.toml_files import NAME, Table, check_name, check_texts, parents, read_table, sentence
from methods.base import Precision

SHIPPED = Path(__file__).parent
WEIGHTS = (".safetensors", ".bin", ".pth", ".pt")
PRUNING = 10_000
"""Maximal number of pictures for pruning: as many as a search uses."""
DECODED = 8
"""Pictures per batch of the VAE: at 512 x 512 each needs about 1 GB of memory."""
PAINTERS = Path(__file__).parents[3] / "prompts" / "artists_sd21.csv"


class Networks(Table):
    """Locations of the scoring networks: a folder, a file, a Hub id or, for `features`, a URL."""

    clip: str = Field(description="open_clip's layout: open_clip_config.json and weights")
    style: str = Field(description="CSD's weights")
    features: str = Field(description="weights of FID's Inception, as pytorch-fid or torch-fidelity ship them")

    @property
    def by_job(self) -> dict[str, str]:
        """Return a mapping from job to location."""
        return {"clip": self.clip, "style": self.style, "features": self.features}


class Definition(Table):
    """A testbed of the Stable Diffusion family."""

    name: str = Field(description="name in records and tables", pattern=NAME)
    summary: str = Field(default="", description="one-line description")
    model: list[str] = Field(
        description="folders or Hub ids in diffusers' layout; the first that is available is used", min_length=1
    )
    license: str = Field(default="other", description="licence of the model, as model cards name it: 'openrail++'")
    captions: Path = Field(description="folder of captioned pictures, see captions.py")
    crops: int = Field(
        description="crops of a training picture that are encoded before training; 0 encodes in each step", ge=0, le=16
    )
    artists: Path = Field(default=PAINTERS, description="CSV of the painters' titles")
    size: int = Field(description="height and width of pictures, pixels", ge=Testbed.pixels, multiple_of=Testbed.pixels)
    scheduler: Literal["pndm", "ddim"] = Field(description="sampler")
    steps: int = Field(description="sampling steps", ge=1)
    guidance: float = Field(description="classifier-free guidance", ge=0)
    flops: float = Field(description="default budget, U-Net FLOPs of all training passes", gt=0)
    preset: str = Field(default="default", description="default preset, for methods that have it")
    half: bool = Field(description="whether trained weights are stored in half precision")
    precision: Precision = Field(default="fp32", description="default precision of training and sampling")
    sentences: str = Field(
        default="sentence-transformers/all-mpnet-base-v2",
        description=f"what encodes prompts for the router of aptp: a model of sentence-transformers, or '{TEXT_TOWER}'",
    )
    experts: Path | None = Field(
        default=None,
        description="architecture vectors as APTP publishes them; aptp uses one of them instead of searching",
    )
    networks: Networks
    sha256: dict[str, str] = Field(default={}, description="known checksums of the model's files, by relative path")


def read(path: Path) -> Definition:
    """Read a testbed file, and make the paths in it absolute. DataError if it is invalid."""
    try:
        definition = Definition(**_settings(Path(path)))
    except ValidationError as error:
        raise DataError(f"The testbed {path}: {_sentence(error, Path(path))}.") from error
    if definition.preset not in (presets := _presets(definition.preset)):
        raise DataError(f"The testbed {path}: {unknown('testbed preset', definition.preset, presets)}")
    if Path(path).resolve().parent != SHIPPED.resolve():
        check_name(path, definition.name)
    return definition


def experts_file(file: Path) -> Path:
    """Return the path of a testbed's architecture vectors. DataError if it does not exist; it is not read."""
    if not file.is_file():
        raise DataError(
            f"The experts {file} are not there: get the quantizer's .safetensors, or leave the line `experts` out of "
            "the testbed's file."
        )
    return file


def _settings(path: Path) -> JsonObject:
    """Return the settings of a file and those that it inherits from the testbed that it is `like`."""
    settings = read_table(path)
    if misplaced := _misplaced(settings):
        raise DataError(f"The testbed {path}: {misplaced}.")
    parent_name = settings.pop("like", None)
    check_texts(path, settings, ("captions", "artists", "experts"))
    if not isinstance(networks_given := settings.get("networks", {}), dict):
        raise DataError(f"The testbed {path}: 'networks' is {networks_given!r}, and should be a table.")
    folder = Path.cwd() if path.parent == SHIPPED else path.parent.resolve()
    for key in ("captions", "artists", "experts"):
        if isinstance(settings.get(key), str):
            settings[key] = (folder / Path(settings[key]).expanduser()).resolve()
    if isinstance(settings.get("model"), str):
        settings["model"] = [settings["model"]]
    if isinstance(settings.get("model"), list):
        settings["model"] = [_place(place, folder) for place in settings["model"]]
    if settings.get("sentences") != TEXT_TOWER and "sentences" in settings:
        settings["sentences"] = _place(settings["sentences"], folder)
    if isinstance(settings.get("networks"), dict):
        settings["networks"] = {job: _place(place, folder) for job, place in settings["networks"].items()}
    if parent_name is None:
        return settings
    parents(path)  # raises DataError if a file inherits from itself or from a missing testbed
    shipped = SHIPPED / f"{parent_name}.toml"
    inherited = _settings(shipped if shipped.exists() else folder / str(parent_name))
    settings.setdefault("name", path.stem)
    settings.setdefault("summary", f"{inherited['name']}, but for what {path.name} says")
    # Checksums belong to a model, so a different model does not inherit them.
    checksums = {} if "model" in settings else inherited.get("sha256", {})
    networks = {**inherited.get("networks", {}), **settings.get("networks", {})}
    return {**inherited, **settings, "sha256": settings.get("sha256", checksums), "networks": networks}


def _presets(wanted: str) -> list[str]:
    """Presets of all installed methods, sorted; methods are imported only if `wanted` is not found in their source."""
    points = entry_points_of("methods")
    presets = {preset for point in points.values() for preset in literal_keys(point, "presets")}
    if wanted not in presets:
        presets |= {preset for method in points for preset in load("methods", method).presets}
    return sorted(presets)


def _misplaced(settings: JsonObject) -> str | None:
    """Describe a setting in the wrong table, or an invalid checksum; None if there is neither.

    Settings end up in the wrong table easily, because a line at the end of a file belongs to its last table.
    """
    for table in ("networks", "sha256"):
        inner = settings.get(table)
        for key in inner if isinstance(inner, dict) else ():
            if key in ("like", *Definition.model_fields) and key not in Networks.model_fields:
                return f"'{key}' stands under [{table}], and belongs to the file as a whole; put it above that line"
            if table == "sha256" and key in Networks.model_fields:
                return f"'{key}' stands under [{table}]; put it under [networks]"
    if outside := [key for key in settings if key in Networks.model_fields]:
        return f"'{outside[0]}' is one of [networks]; put it under that line"
    sums = settings.get("sha256")
    for key, value in sums.items() if isinstance(sums, dict) else ():
        if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
            return f"'sha256.{key}' is {json.dumps(value, default=str)}, and should be 64 digits 0 to 9 and a to f"
    return None


def _place(value: Any, folder: Path) -> Any:
    """An absolute path if it exists, or if the value cannot be a Hub id or an address; else the value itself."""
    if not isinstance(value, str):
        return value
    path = folder / Path(value).expanduser()
    hub = value.count("/") == 1 and not value.startswith((".", "~", "/")) and path.suffix not in WEIGHTS
    return str(path.resolve()) if path.exists() or not (hub or value.startswith("https://")) else value


def _sentence(error: ValidationError, path: Path) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    setting_names = [*Definition.model_fields, *(f"networks.{name}" for name in Networks.model_fields)]
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(where, ["like", *setting_names], n=1)
        if close:
            return f"it has no setting '{where}'. Did you mean '{close[0]}'? sd21.toml says what can be set"
        return f"it has no setting '{where}'. There are like, {', '.join(setting_names)}"
    if first["type"] == "missing":
        return f"it does not say '{where}'; begin it with like = \"sd21\" to take what it leaves out from there"
    return sentence(error, path)
