"""The definition of a testbed in a TOML file; no torch, so that a wrong file is refused at once."""

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
"""Pictures to prune by, at most: as many as a search draws."""
DECODED = 8
"""Pictures that the VAE has in hand at once: at 512 x 512 each takes about a GB."""
PAINTERS = Path(__file__).parents[3] / "prompts" / "artists_sd21.csv"


class Networks(Table):
    """Where the networks that score come from: each a folder, a file, a Hub id or (features) an address."""

    clip: str = Field(description="open_clip's layout: open_clip_config.json and weights")
    style: str = Field(description="CSD's weights")
    features: str = Field(description="weights of FID's Inception, as pytorch-fid or torch-fidelity ship them")

    @property
    def by_job(self) -> dict[str, str]:
        """Job -> place."""
        return {"clip": self.clip, "style": self.style, "features": self.features}


class Definition(Table):
    """A testbed of the Stable Diffusion family."""

    name: str = Field(description="as records and tables call it", pattern=NAME)
    summary: str = Field(default="", description="one line for people")
    model: list[str] = Field(
        description="folders or Hub ids in diffusers' layout; the first that can be had", min_length=1
    )
    license: str = Field(default="other", description="licence of the model, as model cards name it: 'openrail++'")
    captions: Path = Field(description="folder of captioned pictures, see captions.py")
    crops: int = Field(
        description="crops of a train picture that are encoded and kept; 0 encodes in the step", ge=0, le=16
    )
    artists: Path = Field(default=PAINTERS, description="CSV of the painters' titles")
    size: int = Field(description="height and width of pictures, pixels", ge=Testbed.pixels, multiple_of=Testbed.pixels)
    scheduler: Literal["pndm", "ddim"] = Field(description="what samples")
    steps: int = Field(description="steps of sampling", ge=1)
    guidance: float = Field(description="classifier-free guidance", ge=0)
    flops: float = Field(description="default budget, U-Net FLOPs of all training passes", gt=0)
    preset: str = Field(default="default", description="settings of the methods that have it, unless asked otherwise")
    half: bool = Field(description="whether fitted weights are kept in half precision")
    precision: Precision = Field(default="fp32", description="what is trained and sampled in unless asked otherwise")
    sentences: str = Field(
        default="sentence-transformers/all-mpnet-base-v2",
        description=f"who reads prompts for the router of aptp: a model of sentence-transformers, or '{TEXT_TOWER}'",
    )
    experts: Path | None = Field(
        default=None,
        description="architecture vectors as APTP publishes them, of which aptp takes one, not searching",
    )
    networks: Networks
    sha256: dict[str, str] = Field(default={}, description="known checksums of the model's files, by relative path")


def read(path: Path) -> Definition:
    """The testbed that `path` defines, paths in it made absolute. DataError, in one sentence, for a wrong file."""
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
    """The file of architecture vectors that a testbed names. DataError if it is not there; it is not read."""
    if not file.is_file():
        raise DataError(
            f"The experts {file} are not there: get the quantizer's .safetensors, or leave the line `experts` out of "
            "the testbed's file."
        )
    return file


def _settings(path: Path) -> JsonObject:
    """The settings in a file, and those it inherits from the testbed that it is `like`."""
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
    parents(path)  # refuses a file that is like itself, or like nothing that there is
    shipped = SHIPPED / f"{parent_name}.toml"
    inherited = _settings(shipped if shipped.exists() else folder / str(parent_name))
    settings.setdefault("name", path.stem)
    settings.setdefault("summary", f"{inherited['name']}, but for what {path.name} says")
    # Checksums are one model's: another model does not inherit them.
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
    """What is said of a setting in the wrong place of a file, or of a checksum that is none; None if all is well.

    A line that is added at a file's end belongs to the file's last table.
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
