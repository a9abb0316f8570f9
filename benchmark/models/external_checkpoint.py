"""A U-Net that somebody else made, in whichever form they publish it, checked key by key against the testbed's base.

    a pipeline's folder or Hub id      unet/ in diffusers' layout; its other parts must be the testbed's
    a U-Net's folder or Hub id         config.json and safetensors (whole, in shards, or one variant such as fp16)
    a pruned U-Net's folder            config.json, architecture.json and unet.safetensors, as the store keeps them
    a file of weights                  all of the base's, cut or not; or some of them, as ESD publishes (.safetensors,
                                       .pt, .pth, .bin, .ckpt), which stand in the base's place

A file whose inner widths are smaller than the base's, or that lacks whole resnets or transformers, says so by its names
and shapes. Weights of full size can be cut by an architecture: the store's architecture.json, or APTP's vector.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark import hub
from benchmark.errors import DataError, UsageError
from benchmark.models.pipeline_parts import LORA, prediction_type, read_json
from benchmark.store.listing import visible
from metrics.networks.weights import SUFFIXES, check_kind, check_values, is_averaged, read_weights, stored

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor


Parts = Literal["all", "unet"]
"""The parts of a pipeline to score: all of them, or its U-Net with the testbed's own other parts."""
WRAPPED = ("unet.", "model.unet.", "model.")
"""Prefixes that wrappers of the U-Net add to its names."""
GENERIC_NAMES = (
    "unet", "unet_ema", "diffusion_pytorch_model", "pytorch_model", "model", "checkpoint", "weights", "pipeline",
)  # fmt: skip
"""Names that every model's files and folders have, so that they name no model."""
_FORM = re.compile(r"[.](fp16|bf16|non_ema)$")
EMBEDDINGS = "it holds embeddings of new words (textual inversion) and no U-Net, so nothing of it can be scored"
AVERAGED = "it holds averaged (EMA) weights; save one model alone, the averaged or the other, under diffusers' names"
OTHER_FORMS = {
    "model.diffusion_model.": "it is a single file of a whole model under its authors' names; load it by diffusers' "
    "StableDiffusionPipeline.from_single_file, save_pretrained a folder, and name that",
    "*lora": "it is a LoRA; merge it into its model (load_lora_weights, fuse_lora), save the U-Net, and name that",
    "*.processor.": "it holds attention processors, which change how a U-Net computes; merge them, and save the U-Net",
    "text_encoder": "it holds other parts beside the U-Net; save the U-Net alone",
    "class_embedding.": "its U-Net needs class labels, which it is not given here",
    "add_embedding.": "its U-Net needs further embeddings (as SDXL's), which it is not given here",
    "emb_params": EMBEDDINGS,
    "string_to_param": EMBEDDINGS,
    "encoder_hid_proj.": "its U-Net projects another text encoder's states, which it is not given here",
    "time_embedding.cond_proj.": "its U-Net needs a guidance embedding (as LCM's), which it is not given here",
}
"""What to do about a file with foreign names of weights, by the start of such a name or (*) by any part of it. Any
other file must be renamed as diffusers names weights."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a U-Net lies, and how it is to be read."""

    form: Literal["diffusers", "pruned", "weights"]
    place: Path  # the U-Net's folder, or the file
    pipeline: Path | None = None  # the folder of the pipeline it came in
    architecture: Path | None = None  # what it is to be cut by

    def sha256(self) -> str:
        """One checksum of its files, which identifies the checkpoint wherever its files are."""
        files = [self.place]
        if self.place.is_dir():
            configs = ("config.json", "architecture.json")
            files = [f for f in visible(self.place, "*") if f.suffix == ".safetensors" or f.name in configs]
        digest = hashlib.sha256()
        for file in [*files, *([self.architecture] if self.architecture else [])]:
            with open(file, "rb") as opened:
                digest.update(f"{file.name if len(files) > 1 else ''}\0".encode())
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        return digest.hexdigest()


def default_name(checkpoint: str) -> str:
    """A checkpoint's default name: that of its file or folder, or of the folder around `unet`."""
    path = Path(os.path.abspath(Path(checkpoint).expanduser()))
    last = path.stem if path.suffix in SUFFIXES else path.name
    names = [last, *(folder.name for folder in path.parents)]
    return next((name for name in names if name and _FORM.sub("", name.lower()) not in GENERIC_NAMES), last)


def locate(place: str, parts: Parts = "all") -> Checkpoint:
    """The checkpoint at a path, or of a Hub id. DataError if there is none, or its form is not known.

    `parts` selects the parts of a pipeline to download.
    """
    if not place.strip():
        raise UsageError("--checkpoint is empty: name a folder, a file of weights or a Hub id.")
    path = Path(place).expanduser()
    if not path.exists():
        path = _downloaded(place, parts)
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"The checkpoint {path} is a pipe or a device: write it to a file first.")
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise DataError(f"The checkpoint {path} is no file of weights ({', '.join(SUFFIXES)}).")
        return Checkpoint("weights", path)
    if (path / "unet" / "config.json").is_file():
        if averaged := [f.name for f in visible(path, "*") if is_averaged(f.name) and (f / "config.json").is_file()]:
            raise DataError(
                f"The checkpoint {path} holds two U-Nets, unet and {averaged[0]}: name the one to be scored, "
                f"{path / 'unet'} or {path / averaged[0]}."
            )
        return Checkpoint("diffusers", path / "unet", path)
    if (path / "architecture.json").is_file():
        return Checkpoint("pruned", path)
    if (path / "config.json").is_file():
        # A pipeline's own U-Net stands for the pipeline: its other parts may differ from the testbed's all the same.
        whole = path.absolute().parent
        return Checkpoint("diffusers", path, whole if (whole / "model_index.json").is_file() else None)
    files = [file for file in visible(path, "*") if file.suffix in SUFFIXES]
    if len(files) == 1:
        return Checkpoint("weights", files[0])
    what = f"{len(files)} files of weights: name one of them" if files else "neither a U-Net, a pipeline nor weights"
    raise DataError(f"The checkpoint {place} has {what}.")


def load(checkpoint: Checkpoint, base: UNet2DConditionModel, scheduler: Mapping[str, Any]) -> UNet2DConditionModel:
    """The U-Net, fp32, eval mode. DataError if it cannot replace the base: every key, shape and value is checked, and
    every field of its config that decides about inputs and outputs.

    `scheduler` is the testbed's; a pipeline that predicts something else would be sampled wrongly.
    """
    if checkpoint.pipeline is not None:
        kind, usual = prediction_type(checkpoint.pipeline), scheduler.get("prediction_type", "epsilon")
        if kind not in (None, usual):
            raise DataError(
                f"The checkpoint {checkpoint.pipeline} predicts {kind}, the testbed's model {usual}: choose the "
                "testbed of its base model."
            )
    if checkpoint.form == "pruned":
        from methods.pruning.architecture import read_pruned

        unet = read_pruned(checkpoint.place)[0]
    elif checkpoint.form == "diffusers":
        unet = _diffusers(checkpoint.place, base)
    else:
        unet = _from_weights(checkpoint.place, base)
    _check_inputs(checkpoint.place, unet.config, base)
    check_values(unet.state_dict(), f"The weights {checkpoint.place}")
    if checkpoint.architecture is not None:
        unet = _cut(unet, checkpoint.architecture)
    return unet.float().eval().requires_grad_(False)  # type: ignore[return-value]


def _check_inputs(place: Path, config: Mapping[str, Any], base: UNet2DConditionModel) -> None:
    """DataError for a config with other inputs or outputs than the base's."""
    from methods.sampling import inputs

    fields, base_fields = inputs(config), inputs(base.config)
    if different := [name for name in base_fields if fields[name] != base_fields[name]]:
        name = different[0]
        raise DataError(
            f"The checkpoint {place} has {name} {fields[name]}, the testbed's model {base_fields[name]}: choose the "
            "testbed of its base model; what a U-Net needs beside noise, time and text is not given here."
        )


def _diffusers(folder: Path, base: UNet2DConditionModel) -> UNet2DConditionModel:
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from methods.pruning.architecture import Architecture

    config = read_json(folder / "config.json")
    kind = config.get("_class_name", UNet2DConditionModel.__name__)
    if kind != UNet2DConditionModel.__name__:
        raise DataError(f"The checkpoint {folder} is a {kind}, not a U-Net of the Stable Diffusion family.")
    _check_inputs(folder, config, base)  # before building: diffusers cannot build every config
    foreign = set(config) - set(base.config)
    if unknown := sorted(name for name in foreign if not name.startswith("_") and config[name]):
        raise DataError(f"The config.json in {folder} has a field '{unknown[0]}' that this diffusers does not know.")
    files = stored([file.name for file in visible(folder, "*")], str(folder))[1]
    if not files:
        raise DataError(f"The U-Net in {folder} has no weights in safetensors: save it as safetensors again.")
    weights: dict[str, Tensor] = {}
    for file in files:
        weights |= read_weights(folder / file)
    try:
        with torch.device("meta"):
            unet: Any = UNet2DConditionModel.from_config(config)
            if (folder / "architecture.json").is_file():  # as `bench export` writes a pruned pipeline
                unet = Architecture.from_json(read_json(folder / "architecture.json")).apply(unet)
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"The U-Net in {folder} cannot be built from its config.json ({first}).") from error
    own = unet.state_dict()
    different = sorted(own.keys() ^ weights.keys()) or [n for n in own if own[n].shape != weights[n].shape]
    if different:
        raise DataError(
            f"The U-Net in {folder} does not fit its config.json ('{different[0]}' and {len(different) - 1} more)."
        )
    check_kind(weights, own, f"The weights in {folder}")
    unet.load_state_dict(weights, strict=True, assign=True)
    return unet.float()


def _from_weights(path: Path, base: UNet2DConditionModel) -> UNet2DConditionModel:
    weights, own = read_weights(path), base.state_dict()
    for prefix in WRAPPED:
        if all(name.startswith(prefix) and name.removeprefix(prefix) in own for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    foreign = [name for name in weights if name not in own]
    if foreign:
        remedies = [AVERAGED] if any(is_averaged(name.partition(".")[0]) for name in foreign) else []
        remedies += [text for mark, text in OTHER_FORMS.items() if any(_marked(name, mark) for name in foreign)]
        remedies += [EMBEDDINGS] if not any("." in name for name in weights) else []
        remedy = (remedies or ["they must be named as diffusers names them"])[0]
        raise DataError(
            f"The weights {path} are not those of the testbed's U-Net: {len(foreign)} of {len(weights)} names are "
            f"foreign, the first is '{foreign[0]}'; {remedy}."
        )
    check_kind(weights, own, f"The weights {path}")
    _check_inputs(path, {**base.config, **_widths(weights)}, base)
    reshaped = [name for name in weights if weights[name].shape != own[name].shape]
    weights = {name: tensor.float() for name, tensor in weights.items()}
    dropped = _dropped(weights, base)
    if dropped:  # ESD's files lack parts of modules all over, never just whole modules
        return _pruned(path, weights, base, dropped)
    if not reshaped:
        base.load_state_dict({**own, **weights}, strict=True)
        return base
    if len(weights) < len(own):
        lacking = next(name for name in own if name not in weights)
        raise DataError(
            f"The weights {path} have another shape of '{reshaped[0]}' than the testbed's U-Net, and lack '{lacking}': "
            "some weights alone must have the base's shapes, and those of a pruned U-Net must be whole."
        )
    return _pruned(path, weights, base, ())


def _widths(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Fields of a U-Net's config that the shapes of its weights tell, as far as they are there."""
    text = next((name for name in weights if name.endswith("attn2.to_k.weight")), "")
    places = (
        ("in_channels", "conv_in.weight", 1),
        ("out_channels", "conv_out.weight", 0),
        ("cross_attention_dim", text, 1),
    )
    return {
        field: int(weights[name].shape[axis])
        for field, name, axis in places
        if name in weights and weights[name].ndim > axis
    }


def _marked(name: str, mark: str) -> bool:
    """Whether a weight's name bears one of the marks of `OTHER_FORMS`."""
    if mark.startswith("*"):
        return mark[1:] in name.lower()
    return any(name.startswith(f"{p}{mark}") for p in ("", *WRAPPED))


def _dropped(weights: Mapping[str, Tensor], base: UNet2DConditionModel) -> tuple[str, ...]:
    """Resnets and transformers without any weight, if no other weights are missing; else nothing."""
    from methods.pruning.architecture import within
    from methods.pruning.depth import droppable

    empty = tuple(name for name in droppable(base) if not any(within(key, [name]) for key in weights))
    missing = [key for key in base.state_dict() if key not in weights]
    return empty if all(within(key, empty) for key in missing) else ()


def _pruned(
    path: Path, weights: Mapping[str, Tensor], base: UNet2DConditionModel, dropped: tuple[str, ...]
) -> UNet2DConditionModel:
    """A U-Net whose inner widths are cut. The weights are already cut, so only the number of kept elements matters."""
    from methods.pruning.architecture import Architecture, gates, load_pruned, reader, width, within

    names = {id(module): name for name, module in base.named_modules()}
    kept_elements = {}
    for name, gate in gates(base).items():
        if not within(name, dropped):
            layer: Any = reader(gate)  # its inputs are cut
            channels_per_element = layer.weight.shape[1] // width(gate)
            kept_elements[name] = range(weights[f"{names[id(layer)]}.weight"].shape[1] // channels_per_element)
    try:
        return load_pruned(dict(base.config), Architecture.of(base, kept_elements, dropped), dict(weights))
    except DataError as error:
        raise DataError(f"The weights {path} are not the testbed's U-Net with smaller inner widths: {error}") from error


def _cut(unet: UNet2DConditionModel, path: Path) -> UNet2DConditionModel:
    """The U-Net cut by an architecture: architecture.json, or a vector of numbers as APTP saves it."""
    import torch

    from methods.pruning.architecture import Architecture
    from methods.pruning.vector import to_architecture

    if not path.is_file():  # it is read for the U-Net, and again for the checksum that its row is known by
        raise DataError(f"The architecture {path} is a pipe or a device: write it to a file first.")
    try:
        if path.suffix == ".json":
            return Architecture.from_json(json.loads(path.read_bytes())).apply(unet)
        vector = torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as error:  # also pickle's own, whose module nobody here imports
        raise DataError(f"The architecture {path} cannot be read ({type(error).__name__}): save it again.") from error
    if not isinstance(vector, torch.Tensor):
        raise DataError(f"The architecture {path} is neither architecture.json nor a vector of numbers.")
    gates = vector.flatten().float()
    if not bool(((gates >= 0) & (gates <= 1)).all()):  # a NaN is neither
        raise DataError(f"The architecture {path} holds numbers outside 0..1, or NaN: it is not a vector of gates.")
    return to_architecture(unet, gates).apply(unet)


def _downloaded(name: str, parts: Parts) -> Path:
    """A Hub repository's local folder, with only the files that are read."""
    try:
        return hub.download(name, lambda files: _wanted(name, files, parts))
    except (OSError, ValueError) as error:
        raise DataError(
            f"The checkpoint {name} is no path here, and the Hub does not give it either ({type(error).__name__}): "
            "name a folder, a file of weights or a Hub id that you may download."
        ) from error


def _wanted(name: str, files: Sequence[str], parts: Parts) -> list[str]:
    """The files to download of a repository: a pipeline's parts, a U-Net's config and weights, or else the only file
    of weights. DataError if there are several."""
    if "unet/config.json" in files:
        folders = {file.partition("/")[0] for file in files if file.endswith("/config.json")}
        if averaged := sorted(folder for folder in folders if is_averaged(folder)):
            raise DataError(
                f"The checkpoint {name} holds two U-Nets, unet and {averaged[0]}: download it, and name the folder of "
                "the one to be scored."
            )
        beside = [] if parts == "unet" else [*hub.network(files, "text_encoder"), *hub.network(files, "vae")]
        beside += [] if parts == "unet" else [file for file in files if file.startswith("tokenizer/")]
        about = ("model_index.json", "scheduler/scheduler_config.json", *_loras(files))
        return [*hub.network(files, "unet"), *beside, *(file for file in about if file in files)]
    if "config.json" in files:
        pruned = [file for file in ("architecture.json", "unet.safetensors") if "architecture.json" in files]
        return [*hub.network(files, ""), *pruned, *_loras(files)]
    weights = [file for file in files if "/" not in file and Path(file).suffix in SUFFIXES]
    chosen = [file for file in weights if file.endswith(".safetensors")] or weights
    if len(chosen) != 1:
        what = f"{len(chosen)} files of weights ({', '.join(chosen[:3])}...): download one of them, and name it"
        raise DataError(f"The checkpoint {name} has {what if chosen else 'neither a U-Net, a pipeline nor weights'}.")
    return chosen


def _loras(files: Sequence[str]) -> list[str]:
    """LoRAs beside a repository's U-Net, which are downloaded to be spoken of."""
    return [file for file in files if re.fullmatch(rf"(unet/)?{LORA}[^/]*", file)]
