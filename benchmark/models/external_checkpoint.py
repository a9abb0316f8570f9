"""A U-Net that somebody else made, in whichever form they publish it, checked key by key against the testbed's base.

    a pipeline's folder or Hub id      unet/ in diffusers' layout
    a U-Net's folder or Hub id         config.json and safetensors, in diffusers' layout
    a pruned U-Net's folder            config.json, architecture.json and unet.safetensors, as the store keeps them
    a file of weights                  all of the base's, cut or not; or some of them, as ESD publishes (.safetensors,
                                       .pt, .pth, .bin), which stand in the base's place

A file whose inner widths are smaller than the base's, or that lacks whole resnets or transformers, says so by its names
and shapes. Weights of full size can be cut by an architecture: the store's architecture.json, or APTP's vector.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.errors import DataError
from benchmark.store.paths import visible

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor


WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")
HUB = [
    "unet/config.json",
    "unet/*.safetensors",
    "scheduler/*.json",
    "*.json",
    "*.safetensors",
    "*.pt",
    "*.pth",
    "*.bin",
]
WRAPPED = ("unet.", "model.unet.")
"""What wrappers of the U-Net put before its names."""
UNTELLING = (
    "unet", "unet_ema", "diffusion_pytorch_model", "pytorch_model", "model", "checkpoint", "weights", "pipeline",
)  # fmt: skip
"""Names that every model's files and folders have, so that they name no model."""
_FORM = re.compile(r"[.](fp16|bf16|non_ema)$")


@dataclass(frozen=True)
class Checkpoint:
    """Where a U-Net lies, and how it is to be read."""

    form: Literal["diffusers", "pruned", "weights"]
    place: Path  # the U-Net's folder, or the file
    scheduler: Path | None = None  # of the pipeline it came in
    architecture: Path | None = None  # what it is to be cut by

    def sha256(self) -> str:
        """One checksum of its files: what it is known by, wherever it lies."""
        files = [self.place]
        if self.place.is_dir():
            told = ("config.json", "architecture.json")
            files = [f for f in visible(self.place, "*") if f.suffix == ".safetensors" or f.name in told]
        digest = hashlib.sha256()
        for file in [*files, *([self.architecture] if self.architecture else [])]:
            with open(file, "rb") as opened:
                digest.update(f"{file.name if len(files) > 1 else ''}\0".encode())
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        return digest.hexdigest()


def default_name(checkpoint: str) -> str:
    """What a checkpoint is called unless it is given a name: its file or folder, or the folder around `unet`."""
    path = Path(os.path.abspath(Path(checkpoint).expanduser()))
    last = path.stem if path.suffix in WEIGHTS else path.name
    names = [last, *(folder.name for folder in path.parents)]
    return next((name for name in names if name and _FORM.sub("", name.lower()) not in UNTELLING), last)


def locate(asked: str) -> Checkpoint:
    """The checkpoint at a path, or of a Hub id. DataError where there is none, or its form is not known."""
    path = Path(asked).expanduser()
    if not path.exists():
        path = _downloaded(asked)
    if path.is_file():
        if path.suffix not in WEIGHTS:
            raise DataError(f"The checkpoint {path} is no file of weights ({', '.join(WEIGHTS)}).")
        return Checkpoint("weights", path)
    if (path / "unet" / "config.json").is_file():
        scheduler = path / "scheduler" / "scheduler_config.json"
        return Checkpoint("diffusers", path / "unet", scheduler if scheduler.is_file() else None)
    if (path / "architecture.json").is_file():
        return Checkpoint("pruned", path)
    if (path / "config.json").is_file():
        return Checkpoint("diffusers", path)
    files = [file for file in visible(path, "*") if file.suffix in WEIGHTS]
    if len(files) == 1:
        return Checkpoint("weights", files[0])
    what = f"{len(files)} files of weights: name one of them" if files else "neither a U-Net, a pipeline nor weights"
    raise DataError(f"The checkpoint {asked} has {what}.")


def load(checkpoint: Checkpoint, base: UNet2DConditionModel, scheduler: Mapping[str, Any]) -> UNet2DConditionModel:
    """The U-Net, fp32, eval mode. DataError where it cannot stand in the base's place, every key and shape looked at.

    `scheduler` is the testbed's; a pipeline that predicts something else would be sampled wrongly.
    """
    if checkpoint.scheduler is not None:
        told = json.loads(checkpoint.scheduler.read_text("utf-8")).get("prediction_type", "epsilon")
        if told != scheduler.get("prediction_type", "epsilon"):
            raise DataError(
                f"The checkpoint {checkpoint.place.parent} predicts {told}, the testbed's model "
                f"{scheduler.get('prediction_type', 'epsilon')}: choose the testbed of its base model."
            )
    if checkpoint.form == "pruned":
        from methods.pruning.architecture import read_pruned

        unet = read_pruned(checkpoint.place)[0]
    elif checkpoint.form == "diffusers":
        unet = _diffusers(checkpoint.place)
    else:
        unet = _from_weights(checkpoint.place, base)
    if checkpoint.architecture is not None:
        unet = _cut(unet, checkpoint.architecture)
    for field in ("in_channels", "cross_attention_dim"):
        if unet.config[field] != base.config[field]:
            raise DataError(
                f"The checkpoint {checkpoint.place} has {field} {unet.config[field]}, the testbed's model "
                f"{base.config[field]}: choose the testbed of its base model."
            )
    return unet.float().eval().requires_grad_(False)  # type: ignore[return-value]


def _diffusers(folder: Path) -> UNet2DConditionModel:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    try:
        unet, told = UNet2DConditionModel.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"The U-Net in {folder} cannot be loaded ({first}): save it as safetensors again.") from error
    if odd := [*told["missing_keys"], *told["unexpected_keys"]]:
        raise DataError(f"The U-Net in {folder} does not fit its config.json ('{odd[0]}' and {len(odd) - 1} more).")
    return unet


def _from_weights(path: Path, base: UNet2DConditionModel) -> UNet2DConditionModel:
    from metrics.networks.weights import read_weights

    weights, own = read_weights(path), base.state_dict()
    for prefix in WRAPPED:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    foreign = [name for name in weights if name not in own]
    if foreign:
        raise DataError(
            f"The weights {path} are not those of the testbed's U-Net: {len(foreign)} of {len(weights)} names are "
            f"foreign, the first is '{foreign[0]}'; they must be named as diffusers names them."
        )
    cut = [name for name in weights if weights[name].shape != own[name].shape]
    weights = {name: tensor.float() for name, tensor in weights.items()}
    gone = _gone(weights, base)
    if gone:  # what ESD publishes lacks parts of modules all over, never whole ones and nothing else
        return _pruned(path, weights, base, gone)
    if not cut:
        base.load_state_dict({**own, **weights}, strict=True)
        return base
    if len(weights) < len(own):
        lacking = next(name for name in own if name not in weights)
        raise DataError(
            f"The weights {path} have another shape of '{cut[0]}' than the testbed's U-Net, and lack '{lacking}': some "
            "weights alone must have the base's shapes, and those of a pruned U-Net must be whole."
        )
    return _pruned(path, weights, base, ())


def _gone(weights: Mapping[str, Tensor], base: UNet2DConditionModel) -> tuple[str, ...]:
    """Resnets and transformers without a weight, if all that is missing is in them."""
    from methods.pruning.architecture import within
    from methods.pruning.depth import droppable

    empty = tuple(name for name in droppable(base) if not any(within(key, [name]) for key in weights))
    missing = [key for key in base.state_dict() if key not in weights]
    return empty if all(within(key, empty) for key in missing) else ()


def _pruned(
    path: Path, weights: Mapping[str, Tensor], base: UNet2DConditionModel, gone: tuple[str, ...]
) -> UNet2DConditionModel:
    """A U-Net whose inner widths are cut. Which elements were kept is in the weights, so only their number matters."""
    from methods.pruning.architecture import Architecture, gates, load_pruned, reader, width, within

    names = {id(module): name for name, module in base.named_modules()}
    kept = {}
    for name, gate in gates(base).items():
        if not within(name, gone):
            last: Any = reader(gate)  # its inputs are what was cut
            each = last.weight.shape[1] // width(gate)
            kept[name] = range(weights[f"{names[id(last)]}.weight"].shape[1] // each)
    try:
        return load_pruned(dict(base.config), Architecture.of(base, kept, gone), dict(weights))
    except DataError as error:
        raise DataError(f"The weights {path} are not the testbed's U-Net with smaller inner widths: {error}") from error


def _cut(unet: UNet2DConditionModel, path: Path) -> UNet2DConditionModel:
    """The U-Net without what an architecture drops: architecture.json, or a vector of numbers as APTP saves it."""
    import torch

    from methods.pruning.architecture import Architecture
    from methods.pruning.vector import to_architecture

    try:
        if path.suffix == ".json":
            return Architecture.from_json(json.loads(path.read_text("utf-8"))).apply(unet)
        vector = torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as error:  # also pickle's own, whose module nobody here imports
        raise DataError(f"The architecture {path} cannot be read ({type(error).__name__}): save it again.") from error
    if not isinstance(vector, torch.Tensor):
        raise DataError(f"The architecture {path} is neither architecture.json nor a vector of numbers.")
    return to_architecture(unet, vector.flatten().float()).apply(unet)


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=HUB, ignore_patterns=["*fp16*", "vae/*", "text_encoder/*"]))
    except (OSError, ValueError) as error:
        raise DataError(
            f"The checkpoint {name} is no path here, and the Hub does not give it either ({type(error).__name__}): "
            "name a folder, a file of weights or a Hub id that you may download."
        ) from error
