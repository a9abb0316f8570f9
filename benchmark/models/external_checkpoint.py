"""Loads an external U-Net checkpoint and checks every key against the testbed's base U-Net.

    folder or Hub id of a pipeline     unet/ in diffusers' layout; its other parts must equal the testbed's
    folder or Hub id of a U-Net        config.json and safetensors (one file, shards, or one variant such as fp16)
    folder of a pruned U-Net           config.json, architecture.json and unet.safetensors, as in the store
    file of weights                    all weights of the base, pruned or not; or some of them, as ESD publishes, which
                                       replace those of the base (.safetensors, .pt, .pth, .bin, .ckpt)
    file or folder of a LoRA           merged into the base's weights, see checkpoint_forms/lora.py
    single file in LDM's layout        a whole model with the original names, see checkpoint_forms/ldm.py

Pruning is recognised from the names and shapes of the weights: smaller inner widths than the base's, or missing whole
resnets or transformers. Weights of full size can be pruned by a given architecture: the architecture.json of the store,
or a vector of APTP.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark import hub
from benchmark.errors import DataError, UsageError
from benchmark.json_types import Counted
from benchmark.models.checkpoint_forms import ldm, lora
from benchmark.models.checkpoint_forms.fit_weights import check_inputs, fit_weights
from benchmark.models.checkpoint_forms.recognise import PEFT_CONFIG, FileForm, recognise, without_other_parts
from benchmark.models.pipeline_parts import LORA, prediction_type, read_json
from benchmark.store.listing import visible
from metrics.networks.weights import SUFFIXES, check_kind, check_values, is_averaged, read_weights, stored

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor


Parts = Literal["all", "unet"]
"""The parts of a pipeline to score: all of them, or only its U-Net, combined with the testbed's other parts."""
GENERIC_NAMES = (
    "unet", "unet_ema", "diffusion_pytorch_model", "pytorch_model", "model", "checkpoint", "weights", "pipeline",
    "pytorch_lora_weights", "adapter_model",
)  # fmt: skip
"""Common names of files and folders, which do not identify a model."""
TRAINING_STATE = ("optimizer.bin", "scheduler.bin", "optimizer.pt", "scheduler.pt", "training_args.bin")
"""Files that training scripts save next to the weights, and that hold no weights."""
_FORM = re.compile(r"[.](fp16|bf16|non_ema)$")


@dataclass(frozen=True)
class Checkpoint:
    """Location and format of a U-Net checkpoint."""

    form: Literal["diffusers", "pruned", "weights", "lora", "ldm"]
    place: Path  # folder of the U-Net, or file of weights
    pipeline: Path | None = None  # folder of the pipeline that contains the U-Net
    architecture: Path | None = None  # file with the architecture to prune the U-Net to
    file: FileForm | None = None  # what a file of weights holds; None for folders of a U-Net
    lora_config: Path | None = None  # adapter_config.json of a LoRA that PEFT saved
    lora_scale: float = 1.0  # factor of a LoRA's change

    def files(self) -> list[Path]:
        """Return its files of weights, and the configs that determine how they are read."""
        files = [self.place]
        if self.place.is_dir():
            configs = ("config.json", "architecture.json")
            files = [f for f in visible(self.place, "*") if f.suffix == ".safetensors" or f.name in configs]
        return files + ([self.lora_config] if self.lora_config else [])

    def sha256(self) -> str:
        """Return one checksum over all its files, which identifies the checkpoint independently of its path."""
        files = self.files()
        digest = hashlib.sha256()
        for file in [*files, *([self.architecture] if self.architecture else [])]:
            with open(file, "rb") as opened:
                digest.update(f"{file.name if len(files) > 1 else ''}\0".encode())
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        return digest.hexdigest()

    def scaling(self) -> dict[str, float]:
        """Return the part of the model's identity that the checksum does not cover; empty if a LoRA is not scaled."""
        return {} if self.lora_scale == 1 else {"lora_scale": self.lora_scale}

    def facts(self) -> Counted:
        """Return what a record states about this form of checkpoint; empty for most forms."""
        ignored = self.file.ignored if self.file else ()
        return {**self.scaling(), **({"ignored": list(ignored)} if ignored else {})}

    def details(self) -> list[str]:
        """Return what a row's label states about this form of checkpoint."""
        scale = [] if self.lora_scale == 1 else [f"scale {self.lora_scale:.15g}"]
        return ["LoRA", *scale] if self.form == "lora" else []


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
        raise DataError(
            f"The checkpoint {path} is a named pipe or a device file: copy its contents to a regular file first."
        )
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise DataError(f"The checkpoint {path} is not a file of weights ({', '.join(SUFFIXES)}).")
        return _of_file(path)
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
    files = [file for file in visible(path, "*") if file.suffix in SUFFIXES and file.name not in TRAINING_STATE]
    if len(files) == 1:
        return _of_file(files[0])
    what = f"{len(files)} files of weights: give one of them" if files else "neither a U-Net, a pipeline nor weights"
    raise DataError(f"The checkpoint {place} has {what}.")


def _of_file(path: Path) -> Checkpoint:
    """Recognise the form of a file of weights."""
    file, config = recognise(path), path.with_name(PEFT_CONFIG)
    has_config = file.form == "lora" and file.peft and config.is_file()
    return Checkpoint(file.form, path, file=file, lora_config=config if has_config else None)


def check_lora_scale(lora_scale: float) -> None:
    """Raise UsageError if the scale of a LoRA is not finite."""
    if not math.isfinite(lora_scale):
        raise UsageError(f"--lora-scale is {lora_scale}: give a finite number; 1 adds the LoRA as it was trained.")


def scaled(checkpoint: Checkpoint, lora_scale: float) -> Checkpoint:
    """Return the checkpoint with the scale of its LoRA.

    Raises:
        UsageError: if the scale is not finite, or is not 1 and the checkpoint is not a LoRA.
    """
    check_lora_scale(lora_scale)
    if lora_scale != 1 and checkpoint.form != "lora":
        raise UsageError(
            f"--lora-scale applies to a LoRA, and the checkpoint {checkpoint.place} is not a LoRA: leave it out."
        )
    return replace(checkpoint, lora_scale=lora_scale)


def load(
    checkpoint: Checkpoint,
    base: UNet2DConditionModel,
    scheduler: Mapping[str, Any],
    may_equal_base: bool = False,
) -> UNet2DConditionModel:
    """Load the U-Net of a checkpoint, in fp32 and eval mode.

    Args:
        checkpoint: result of `locate`.
        base: the testbed's base U-Net; it may be modified.
        scheduler: config of the scheduler that samples the U-Net. A pipeline with a different prediction type is
            refused, because sampling would produce wrong images with it.
        may_equal_base: whether a LoRA may leave the U-Net unchanged, because it changes the text encoder.

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
    elif checkpoint.form == "lora":
        unet = lora.merge(checkpoint.place, checkpoint.lora_config, base, checkpoint.lora_scale, may_equal_base)
    elif checkpoint.form == "ldm":
        unet = fit_weights(checkpoint.place, ldm.convert_unet(checkpoint.place, base), base)
    else:
        unet = fit_weights(checkpoint.place, without_other_parts(read_weights(checkpoint.place)), base)
    check_inputs(checkpoint.place, unet.config, base)
    check_values(unet.state_dict(), f"The weights {checkpoint.place}")
    if checkpoint.architecture is not None:
        unet = _prune(unet, checkpoint.architecture)
    return unet.float().eval().requires_grad_(False)  # type: ignore[return-value]


def _load_diffusers(folder: Path, base: UNet2DConditionModel) -> UNet2DConditionModel:
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from methods.pruning.architecture import Architecture

    config = read_json(folder / "config.json")
    kind = config.get("_class_name", UNet2DConditionModel.__name__)
    if kind != UNet2DConditionModel.__name__:
        raise DataError(f"The checkpoint {folder} is a {kind}, not a U-Net of the Stable Diffusion family.")
    check_inputs(folder, config, base)  # before building: diffusers cannot build every config
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
            f"The U-Net in {folder} does not fit its config.json: {len(different)} weights are missing, unexpected or "
            f"of a different shape, the first is '{different[0]}'."
        )
    check_kind(weights, own, f"The weights in {folder}")
    unet.load_state_dict(weights, strict=True, assign=True)
    return unet.float()


def _prune(unet: UNet2DConditionModel, path: Path) -> UNet2DConditionModel:
    """Prune the U-Net to an architecture: architecture.json, or a vector of gates as APTP saves it."""
    import torch

    from methods.pruning.architecture import Architecture
    from methods.pruning.vector import to_architecture
    from metrics.networks.untrusted import load_tensors

    if not path.is_file():  # a pipe can be read only once, and the file is read again for the row's checksum
        raise DataError(
            f"The architecture {path} is a named pipe or a device file: copy its contents to a regular file first."
        )
    try:
        if path.suffix == ".json":
            return Architecture.from_json(json.loads(path.read_bytes())).apply(unet)
        vector = load_tensors(path)
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
    top = [file for file in files if "/" not in file and file not in TRAINING_STATE]
    weights = [file for file in top if Path(file).suffix in SUFFIXES]
    chosen = [file for file in weights if file.endswith(".safetensors")] or weights
    if len(chosen) != 1:
        what = f"{len(chosen)} files of weights ({', '.join(chosen[:3])}...): download one of them, and give its path"
        raise DataError(f"The checkpoint {name} has {what if chosen else 'neither a U-Net, a pipeline nor weights'}.")
    return [*chosen, *(file for file in top if file == PEFT_CONFIG)]


def _select_loras(files: Sequence[str]) -> list[str]:
    """Return the LoRA files next to a repository's U-Net, which are downloaded so that they can be reported."""
    return [file for file in files if re.fullmatch(rf"(unet/)?{LORA}[^/]*", file)]
