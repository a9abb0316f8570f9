"""Loads an external U-Net checkpoint and checks every key against the testbed's base U-Net.

    folder or Hub id of a pipeline     unet/ in diffusers' layout; its other parts must equal the testbed's
    folder or Hub id of a U-Net        config.json and safetensors (one file, shards, or one variant such as fp16)
    folder of a pruned U-Net           config.json, architecture.json and unet.safetensors, as in the store
    file of weights                    all weights of the base, pruned or not; or some of them, as ESD publishes, which
                                       replace those of the base (.safetensors, .pt, .pth, .bin, .ckpt)

Pruning is recognised from the names and shapes of the weights: smaller inner widths than the base's, or missing whole
resnets or transformers. Weights of full size can be pruned by a given architecture: the architecture.json of the store,
or a vector of APTP.
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
"""The parts of a pipeline to score: all of them, or only its U-Net, combined with the testbed's other parts."""
WRAPPED = ("unet.", "model.unet.", "model.")
"""Prefixes that wrappers of the U-Net add to the names of its weights."""
GENERIC_NAMES = (
    "unet", "unet_ema", "diffusion_pytorch_model", "pytorch_model", "model", "checkpoint", "weights", "pipeline",
)  # fmt: skip
"""Common names of files and folders, which do not identify a model."""
_FORM = re.compile(r"[.](fp16|bf16|non_ema)$")
EMBEDDINGS = "it holds embeddings of new words (textual inversion) and no U-Net, so it cannot be scored"
AVERAGED = "it holds averaged (EMA) weights; save one model, averaged or not, under the names that diffusers uses"
OTHER_FORMS = {
    "model.diffusion_model.": "it is a whole model in a single file, with the names of the original Stable Diffusion "
    "code; convert it with StableDiffusionPipeline.from_single_file and save_pretrained of diffusers, and give the "
    "saved folder",
    "*lora": "it is a LoRA; merge it into its model (load_lora_weights, fuse_lora), save the U-Net, and give its path",
    "*.processor.": "it holds attention processors, which change how a U-Net computes; merge them, and save the U-Net",
    "text_encoder": "it holds other parts next to the U-Net; save only the U-Net",
    "class_embedding.": "its U-Net needs class labels, which this benchmark does not provide",
    "add_embedding.": "its U-Net needs further embeddings (as in SDXL), which this benchmark does not provide",
    "emb_params": EMBEDDINGS,
    "string_to_param": EMBEDDINGS,
    "encoder_hid_proj.": "its U-Net projects states of a different text encoder, which this benchmark does not provide",
    "time_embedding.cond_proj.": "its U-Net needs a guidance embedding (as in LCM), which this benchmark does not "
    "provide",
}
"""Advice for a file that holds unknown names of weights. A key is the start of such a name or, after `*`, any part of
it. Where no key matches, the weights must be renamed to diffusers' names."""


@dataclass(frozen=True)
class Checkpoint:
    """Location and format of a U-Net checkpoint."""

    form: Literal["diffusers", "pruned", "weights"]
    place: Path  # folder of the U-Net, or file of weights
    pipeline: Path | None = None  # folder of the pipeline that contains the U-Net
    architecture: Path | None = None  # file with the architecture to prune the U-Net to

    def sha256(self) -> str:
        """Return one checksum over all its files, which identifies the checkpoint independently of its path."""
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
    """Return the default name of a checkpoint: the last part of its path that is not a generic name like `unet`."""
    if not Path(checkpoint).expanduser().exists() and "@" in checkpoint:  # a revision may contain slashes
        repository, _, revision = checkpoint.partition("@")
        checkpoint = f"{repository}@{revision.replace('/', '-')}"
    path = Path(os.path.abspath(Path(checkpoint).expanduser()))
    last = path.stem if path.suffix in SUFFIXES else path.name
    names = [last, *(folder.name for folder in path.parents)]
    return next((name for name in names if name and _FORM.sub("", name.lower()) not in GENERIC_NAMES), last)


def locate(place: str, parts: Parts = "all") -> Checkpoint:
    """Find the checkpoint at a path or Hub id, and recognise its format.

    Args:
        place: path of a folder or file, or a Hub id.
        parts: the parts of a pipeline to download.

    Raises:
        DataError: if it does not exist, or its format is not supported.
        UsageError: if `place` is empty.
    """
    if not place.strip():
        raise UsageError("--checkpoint is empty: give a folder, a file of weights or a Hub id.")
    path = Path(place).expanduser()
    if not path.exists():
        path = _download(place, parts)
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"The checkpoint {path} is a pipe or a device: write it to a file first.")
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise DataError(f"The checkpoint {path} is not a file of weights ({', '.join(SUFFIXES)}).")
        return Checkpoint("weights", path)
    if (path / "unet" / "config.json").is_file():
        if averaged := [f.name for f in visible(path, "*") if is_averaged(f.name) and (f / "config.json").is_file()]:
            raise DataError(
                f"The checkpoint {path} holds two U-Nets, unet and {averaged[0]}: give the path of the one to score, "
                f"{path / 'unet'} or {path / averaged[0]}."
            )
        return Checkpoint("diffusers", path / "unet", path)
    if (path / "architecture.json").is_file():
        return Checkpoint("pruned", path)
    if (path / "config.json").is_file():
        # If the U-Net's folder is part of a pipeline, the pipeline's other parts are compared with the testbed's too.
        whole = path.absolute().parent
        return Checkpoint("diffusers", path, whole if (whole / "model_index.json").is_file() else None)
    files = [file for file in visible(path, "*") if file.suffix in SUFFIXES]
    if len(files) == 1:
        return Checkpoint("weights", files[0])
    what = f"{len(files)} files of weights: give one of them" if files else "neither a U-Net, a pipeline nor weights"
    raise DataError(f"The checkpoint {place} has {what}.")


def load(checkpoint: Checkpoint, base: UNet2DConditionModel, scheduler: Mapping[str, Any]) -> UNet2DConditionModel:
    """Load the U-Net of a checkpoint, in fp32 and eval mode.

    Args:
        checkpoint: result of `locate`.
        base: the testbed's base U-Net; it may be modified.
        scheduler: config of the scheduler that samples the U-Net. A pipeline with a different prediction type is
            refused, because sampling would produce wrong images with it.

    Raises:
        DataError: if the U-Net cannot replace `base`. Every key, shape and value of its weights is checked, and every
            field of its config that determines inputs and outputs.
    """
    if checkpoint.pipeline is not None:
        kind, expected = prediction_type(checkpoint.pipeline), scheduler.get("prediction_type", "epsilon")
        if kind not in (None, expected):
            raise DataError(
                f"The checkpoint {checkpoint.pipeline} predicts {kind}, the testbed's model {expected}: choose the "
                "testbed of its base model."
            )
    if checkpoint.form == "pruned":
        from methods.pruning.architecture import read_pruned

        unet = read_pruned(checkpoint.place)[0]
    elif checkpoint.form == "diffusers":
        unet = _load_diffusers(checkpoint.place, base)
    else:
        unet = _load_weights(checkpoint.place, base)
    _check_inputs(checkpoint.place, unet.config, base)
    check_values(unet.state_dict(), f"The weights {checkpoint.place}")
    if checkpoint.architecture is not None:
        unet = _prune(unet, checkpoint.architecture)
    return unet.float().eval().requires_grad_(False)  # type: ignore[return-value]


def _check_inputs(place: Path, config: Mapping[str, Any], base: UNet2DConditionModel) -> None:
    """Raise DataError if a config has different inputs or outputs from the base's."""
    from methods.sampling import inputs

    fields, base_fields = inputs(config), inputs(base.config)
    if different := [name for name in base_fields if fields[name] != base_fields[name]]:
        name = different[0]
        raise DataError(
            f"The checkpoint {place} has {name} {fields[name]}, the testbed's model {base_fields[name]}: choose the "
            "testbed of its base model; this benchmark gives a U-Net noise, time and text, and no other input."
        )


def _load_diffusers(folder: Path, base: UNet2DConditionModel) -> UNet2DConditionModel:
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
        raise DataError(
            f"The config.json in {folder} has a field '{unknown[0]}' that the installed diffusers does not know."
        )
    files = stored([file.name for file in visible(folder, "*")], str(folder))[1]
    if not files:
        raise DataError(f"The U-Net in {folder} has no weights in safetensors: save it as safetensors again.")
    weights: dict[str, Tensor] = {}
    for file in files:
        weights |= read_weights(folder / file)
    try:
        with torch.device("meta"):
            unet: Any = UNet2DConditionModel.from_config(config)
            if (folder / "architecture.json").is_file():  # `bench export` writes pruned pipelines in this form
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


def _load_weights(path: Path, base: UNet2DConditionModel) -> UNet2DConditionModel:
    weights, own = read_weights(path), base.state_dict()
    for prefix in WRAPPED:
        if all(name.startswith(prefix) and name.removeprefix(prefix) in own for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    foreign = [name for name in weights if name not in own]
    if foreign:
        remedies = [AVERAGED] if any(is_averaged(name.partition(".")[0]) for name in foreign) else []
        remedies += [text for mark, text in OTHER_FORMS.items() if any(_matches(name, mark) for name in foreign)]
        remedies += [EMBEDDINGS] if not any("." in name for name in weights) else []
        remedy = (remedies or ["they must be named as diffusers names them"])[0]
        raise DataError(
            f"The weights {path} are not those of the testbed's U-Net: {len(foreign)} of {len(weights)} names do not "
            f"exist in it, the first is '{foreign[0]}'; {remedy}."
        )
    check_kind(weights, own, f"The weights {path}")
    _check_inputs(path, {**base.config, **_infer_widths(weights)}, base)
    reshaped = [name for name in weights if weights[name].shape != own[name].shape]
    weights = {name: tensor.float() for name, tensor in weights.items()}
    dropped = _find_dropped(weights, base)
    if dropped:  # not a partial file as ESD publishes: those lack parts of modules, never only whole modules
        return _build_pruned(path, weights, base, dropped)
    if not reshaped:
        base.load_state_dict({**own, **weights}, strict=True)
        return base
    if len(weights) < len(own):
        lacking = next(name for name in own if name not in weights)
        raise DataError(
            f"The weights {path} have a different shape of '{reshaped[0]}' from the testbed's U-Net, and lack "
            f"'{lacking}': a partial file must have the base's shapes, and a file of a pruned U-Net must be complete."
        )
    return _build_pruned(path, weights, base, ())


def _infer_widths(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Infer fields of a U-Net's config from the shapes of its weights; fields without such weights are left out."""
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


def _matches(name: str, mark: str) -> bool:
    """Return whether the name of a weight matches a key of `OTHER_FORMS`."""
    if mark.startswith("*"):
        return mark[1:] in name.lower()
    return any(name.startswith(f"{p}{mark}") for p in ("", *WRAPPED))


def _find_dropped(weights: Mapping[str, Tensor], base: UNet2DConditionModel) -> tuple[str, ...]:
    """Return the resnets and transformers that have no weights; empty if any other weight is missing too."""
    from methods.pruning.architecture import within
    from methods.pruning.depth import droppable

    empty = tuple(name for name in droppable(base) if not any(within(key, [name]) for key in weights))
    missing = [key for key in base.state_dict() if key not in weights]
    return empty if all(within(key, empty) for key in missing) else ()


def _build_pruned(
    path: Path, weights: Mapping[str, Tensor], base: UNet2DConditionModel, dropped: tuple[str, ...]
) -> UNet2DConditionModel:
    """Build a U-Net with pruned inner widths. The weights are pruned already, so only the number of retained elements
    matters, not which ones."""
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


def _prune(unet: UNet2DConditionModel, path: Path) -> UNet2DConditionModel:
    """Prune the U-Net to an architecture: architecture.json, or a vector of gates as APTP saves it."""
    import torch

    from methods.pruning.architecture import Architecture
    from methods.pruning.vector import to_architecture

    if not path.is_file():  # a pipe can be read only once, and the file is read again for the row's checksum
        raise DataError(f"The architecture {path} is a pipe or a device: write it to a file first.")
    try:
        if path.suffix == ".json":
            return Architecture.from_json(json.loads(path.read_bytes())).apply(unet)
        vector = torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as error:  # includes pickle's errors, without importing pickle
        raise DataError(f"The architecture {path} cannot be read ({type(error).__name__}): save it again.") from error
    if not isinstance(vector, torch.Tensor):
        raise DataError(f"The architecture {path} is neither architecture.json nor a vector of numbers.")
    gates = vector.flatten().float()
    if not bool(((gates >= 0) & (gates <= 1)).all()):  # a NaN is neither
        raise DataError(f"The architecture {path} has numbers outside 0..1, or NaN: it is not a vector of gates.")
    return to_architecture(unet, gates).apply(unet)


def _download(name: str, parts: Parts) -> Path:
    """Download the files of a Hub repository that are read, and return the local folder."""
    try:
        return hub.download(name, lambda files: _select_files(name, files, parts))
    except (OSError, ValueError) as error:
        raise DataError(
            f"The checkpoint {name} is not an existing path, and the Hub does not provide it ({type(error).__name__}): "
            "give a folder, a file of weights or a Hub id that you may download."
        ) from error


def _select_files(name: str, files: Sequence[str], parts: Parts) -> list[str]:
    """Select the files of a repository to download: the parts of a pipeline, the config and weights of a U-Net, or
    else the only file of weights. Raises DataError if several files of weights qualify."""
    if "unet/config.json" in files:
        folders = {file.partition("/")[0] for file in files if file.endswith("/config.json")}
        if averaged := sorted(folder for folder in folders if is_averaged(folder)):
            raise DataError(
                f"The checkpoint {name} holds two U-Nets, unet and {averaged[0]}: download it, and give the folder of "
                "the one to score."
            )
        others = [] if parts == "unet" else [*hub.network(files, "text_encoder"), *hub.network(files, "vae")]
        others += [] if parts == "unet" else [file for file in files if file.startswith("tokenizer/")]
        about = ("model_index.json", "scheduler/scheduler_config.json", *_select_loras(files))
        return [*hub.network(files, "unet"), *others, *(file for file in about if file in files)]
    if "config.json" in files:
        pruned = [file for file in ("architecture.json", "unet.safetensors") if "architecture.json" in files]
        return [*hub.network(files, ""), *pruned, *_select_loras(files)]
    weights = [file for file in files if "/" not in file and Path(file).suffix in SUFFIXES]
    chosen = [file for file in weights if file.endswith(".safetensors")] or weights
    if len(chosen) != 1:
        what = f"{len(chosen)} files of weights ({', '.join(chosen[:3])}...): download one of them, and give its path"
        raise DataError(f"The checkpoint {name} has {what if chosen else 'neither a U-Net, a pipeline nor weights'}.")
    return chosen


def _select_loras(files: Sequence[str]) -> list[str]:
    """Return the LoRA files next to a repository's U-Net, which are downloaded so that they can be reported."""
    return [file for file in files if re.fullmatch(rf"(unet/)?{LORA}[^/]*", file)]
