"""The definition of a testbed in a TOML file; no torch, so that a wrong file is refused at once."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.api.testbed import TEXT_TOWER, Testbed
from benchmark.errors import DataError
from benchmark.json_types import JsonObject, Settings
from benchmark.registry import literal_keys, load, names, unknown
from methods.base import Precision

SHIPPED = Path(__file__).parent
WEIGHTS = (".safetensors", ".bin", ".pth", ".pt")
PRUNING = 10_000
"""Pictures to prune by, at most: as many as a search draws."""
DECODED = 8
"""Pictures that the VAE has in hand at once: at 512 x 512 each takes about a GB."""
PAINTERS = Path(__file__).parents[3] / "prompts" / "artists_sd21.csv"


class _Table(BaseModel):
    # Strict, since TOML has kinds of its own: "2" or true are slips where a number is meant.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Networks(_Table):
    """Where the networks that score come from: each a folder, a file, a Hub id or (features) an address."""

    clip: str = Field(description="open_clip's layout: open_clip_config.json and weights")
    style: str = Field(description="CSD's weights")
    features: str = Field(description="weights of FID's Inception, as pytorch-fid or torch-fidelity ship them")

    @property
    def by_job(self) -> dict[str, str]:
        """Job -> place."""
        return {"clip": self.clip, "style": self.style, "features": self.features}


class Definition(_Table):
    """A testbed of the Stable Diffusion family."""

    name: str = Field(description="as records and tables call it", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
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
    installed = {name.casefold(): name for name in names("testbeds")}
    taken = installed.get(definition.name.casefold())  # names of folders with results, and some disks ignore case
    if taken and Path(path).resolve().parent != SHIPPED.resolve():
        raise DataError(
            f"The testbed {path} is called '{definition.name}', and '{taken}' is an installed testbed, whose results "
            f'would be mixed with its own: write another name into it, such as name = "my-{taken}".'
        )
    return definition


def experts_file(file: Path) -> Path:
    """The file of architecture vectors that a testbed names. DataError if it is not there; it is not read."""
    if not file.is_file():
        raise DataError(
            f"The experts {file} are not there: get the quantizer's .safetensors, or leave the line `experts` out of "
            "the testbed's file."
        )
    return file


def _settings(path: Path, children: tuple[Path, ...] = ()) -> JsonObject:
    """The settings in a file, and those it inherits from the testbed that it is `like`; `children` are the files that
    inherit from it."""
    try:
        settings: Settings = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(f"The testbed {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:  # also what is not UTF-8
        raise DataError(f"The testbed {path} is not TOML ({error}).") from error
    if (empty := _empty(settings)) is not None:
        raise DataError(f"The testbed {path}: '{empty}' is empty; give it a value, or leave the line out.")
    if misplaced := _misplaced(settings):
        raise DataError(f"The testbed {path}: {misplaced}.")
    parent_name = settings.pop("like", None)
    texts = (
        ("like", str, "a text"),
        ("captions", str, "a text"),
        ("artists", str, "a text"),
        ("experts", str, "a text"),
    )
    for key, kind, wanted in (*texts, ("networks", dict, "a table")):
        value = parent_name if key == "like" else settings.get(key)
        if value is not None and not isinstance(value, kind):
            raise DataError(f"The testbed {path}: '{key}' is {value!r}, and should be {wanted}.")
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
    parent_path = (
        SHIPPED / f"{parent_name}.toml" if (SHIPPED / f"{parent_name}.toml").exists() else folder / str(parent_name)
    )
    if not parent_path.is_file():
        shipped = ", ".join(file.stem for file in sorted(SHIPPED.glob("*.toml")))
        raise DataError(
            f"The testbed {path} says like = {json.dumps(parent_name)}, and there is no file {parent_path}: name "
            f"another testbed file, or a shipped one ({shipped})."
        )
    if parent_path.resolve() in (*(child.resolve() for child in children), path.resolve()):
        raise DataError(f"The testbed {path} is like {parent_name}, which is like itself: name another.")
    inherited = _settings(parent_path, (*children, path))
    settings.setdefault("name", path.stem)
    settings.setdefault("summary", f"{inherited['name']}, but for what {path.name} says")
    # Checksums are one model's: another model does not inherit them.
    checksums = {} if "model" in settings else inherited.get("sha256", {})
    networks = {**inherited.get("networks", {}), **settings.get("networks", {})}
    return {**inherited, **settings, "sha256": settings.get("sha256", checksums), "networks": networks}


def _presets(wanted: str) -> list[str]:
    """Presets of all installed methods, sorted; methods are imported only if `wanted` is not found in their source."""
    presets = {preset for method in names("methods") for preset in literal_keys("methods", method, "presets")}
    if wanted not in presets:
        presets |= {preset for method in names("methods") for preset in load("methods", method).presets}
    return sorted(presets)


def _misplaced(settings: dict[str, Any]) -> str | None:
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


def _empty(value: Any, name: str = "") -> str | None:
    """The dotted name of the first text in a table or list that is empty or blank; None where there is none."""
    if isinstance(value, str):
        return None if value.strip() else name
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    empty_names = (_empty(item, f"{name}.{key}" if name else str(key)) for key, item in items)
    return next((empty_name for empty_name in empty_names if empty_name is not None), None)


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
    if first["type"] == "string_pattern_mismatch":
        allowed = "letters A to Z, digits, '.', '_' and '-' alone, at most 64, the first a letter or digit"
        if first["input"] != path.stem:
            return f"'{where}' is {json.dumps(first['input'])}, and may have {allowed}"
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:64] or "mine"
        return f'it is called after its file, and a testbed\'s name may have {allowed}: write name = "{plain}" into it'
    value = f" and is {json.dumps(first['input'], default=str)}" if first["type"].endswith("_type") else ""
    return f"'{where}': {first['msg'][:1].lower()}{first['msg'][1:]}{value}"
