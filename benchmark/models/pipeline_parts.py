"""Compares a checkpoint's pipeline with the testbed's, except for the U-Net.

Only the U-Net of a checkpoint is sampled, so a difference in any other part would go unnoticed in the scores. Compared
are:

    text_encoder, vae   fields of the config that change the output, and every weight
    tokenizer           vocabulary, merges, special tokens, normalisation and length
    scheduler           the noise schedule; the solver and its steps are always those of the testbed
    model_index.json    the pipeline's class, which may define its own sampling, and parts that the testbed lacks

Names of files and weights, shards and file formats do not matter, and a copy in half precision counts as equal. The
safety checker and the parts that process image prompts are ignored.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import DataError
from benchmark.json_types import JsonObject, NetworkConfig
from benchmark.store.listing import visible

if TYPE_CHECKING:
    from torch import Tensor

NETWORKS = ("text_encoder", "vae")
COMPARED = (*NETWORKS, "tokenizer", "scheduler")
ELSE = "save the pipeline again with diffusers, or score only its U-Net with --parts unet"
PASSED_OVER = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts that take no part in generating an image from text."""
LORA = "pytorch_lora_weights"
"""Start of the names that diffusers gives to LoRA files."""
TEXT_TO_IMAGE = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
"""Pipeline classes that sample in the same way as the testbeds."""
TEXT = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act",
    "max_position_embeddings", "layer_norm_eps",
)  # fmt: skip
"""Fields of a text encoder's config that change its hidden states."""
SAME_RESULT = ("sample_size", "force_upcast")
"""Fields of a VAE's config that do not change its output."""
SCHEDULE = {
    "num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": None,
    "prediction_type": "epsilon", "rescale_betas_zero_snr": False, "thresholding": False,
    "timestep_spacing": "leading",
}  # fmt: skip
"""Fields of a scheduler's config that belong to the model rather than to the solver, with the defaults of diffusers.
A scheduler class may have different defaults."""


def differences(theirs: Path, ours: Path) -> list[str]:
    """List the differences between two pipelines, except those of the U-Net.

    Args:
        theirs: folder of the checkpoint's pipeline. A part that has no folder and that its index does not name is not
            compared.
        ours: folder of the testbed's pipeline.

    Returns:
        One text per part that differs, such as "vae (scaling_factor 1, not 0.18215)".

    Raises:
        DataError: if a part cannot be read.
    """
    index = _index(theirs)
    unlike = [*_compare_index(index, _index(ours))]
    compare = {
        "text_encoder": _compare_text_encoder,
        "vae": _compare_vae,
        "tokenizer": _compare_tokenizer,
        "scheduler": _compare_scheduler,
    }
    for part in COMPARED:
        if not (theirs / part).is_dir():
            unlike += [f"{part} (its folder does not exist)"] if any(index.get(part) or ()) else []
        elif not (ours / part).is_dir():
            unlike.append(f"{part} (the testbed has no such folder)")
        elif _checksums(theirs / part) != _checksums(ours / part):
            unlike += [f"{part} ({what})" for what in [compare[part](theirs / part, ours / part)] if what]
    return unlike


def loras(folder: Path) -> list[str]:
    """Return the names of LoRA files in a folder, recognised by the names that diffusers gives them.

    The weights of a U-Net in the same folder do not include these LoRAs.
    """
    return [file.name for file in visible(folder, f"{LORA}*") if file.is_file()]


def prediction_type(pipeline: Path) -> str | None:
    """Return the prediction type of a pipeline's U-Net; None if the pipeline has no scheduler."""
    file = pipeline / "scheduler" / "scheduler_config.json"
    return str(_schedule(read_json(file))["prediction_type"]) if file.is_file() else None


def _index(pipeline: Path) -> JsonObject:
    file = pipeline / "model_index.json"
    return read_json(file) if file.is_file() else {}


def _compare_index(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """Yield differences in the pipeline's class, and parts in its index that the testbed lacks."""
    kind = theirs.get("_class_name", TEXT_TO_IMAGE[0])
    if kind not in (*TEXT_TO_IMAGE, ours.get("_class_name")):
        yield f"its pipeline's class ({kind})"
    for name, value in theirs.items():
        part = isinstance(value, list) and any(value) and not name.startswith("_")
        if part and name not in ("unet", *COMPARED, *PASSED_OVER) and not ours.get(name):
            yield f"{name} (the testbed has none)"


def _compare_text_encoder(theirs: Path, ours: Path) -> str:
    from transformers import CLIPTextModel

    configs = [_text_config(folder) for folder in (theirs, ours)]
    return _describe_differences(*configs) or _compare_weights(CLIPTextModel, theirs, ours)


def _text_config(folder: Path) -> NetworkConfig:
    from transformers import CLIPTextConfig

    config = read_json(folder / "config.json")
    kind = config.get("model_type", "clip_text_model")
    if kind not in ("clip_text_model", "clip"):
        return {"model_type": kind}
    try:
        full = CLIPTextConfig.from_pretrained(folder)
    except Exception as error:  # transformers raises a different error class for each field
        raise DataError(f"{folder / 'config.json'} cannot be read ({_first_line(error)}): {ELSE}.") from error
    return {"model_type": "clip_text_model", **{name: getattr(full, name) for name in TEXT}}


def _compare_vae(theirs: Path, ours: Path) -> str:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    defaults = _parameters(AutoencoderKL)
    configs = []
    for folder in (theirs, ours):
        config = read_json(folder / "config.json")
        fields = {name: value for name, value in {**defaults, **config}.items() if name in defaults}
        kind = {"_class_name": config.get("_class_name", AutoencoderKL.__name__)}
        configs.append(kind | {name: value for name, value in fields.items() if name not in SAME_RESULT})
    return _describe_differences(*configs) or _compare_weights(AutoencoderKL, theirs, ours)


def _compare_tokenizer(theirs: Path, ours: Path) -> str:
    from transformers import CLIPTokenizer

    read = []
    for folder in (theirs, ours):
        try:
            words: Any = CLIPTokenizer.from_pretrained(folder)
        except Exception as error:  # tokenizers raises bare Exception, e.g. for merges that do not fit the vocabulary
            raise DataError(f"The tokenizer in {folder} cannot be read ({_first_line(error)}): {ELSE}.") from error
        form = json.loads(words.backend_tokenizer.to_str())
        form |= {"length": words.model_max_length, "padding": words.pad_token_id, "truncation": None, "decoder": None}
        read.append(form)
    names = {"model": "vocabulary", "added_tokens": "added tokens", "padding": "padding token", "length": "length"}
    odd = [names.get(name, name) for name in read[1] if read[0].get(name) != read[1][name]]
    return f"different {', '.join(odd)}" if odd else ""


def _compare_scheduler(theirs: Path, ours: Path) -> str:
    name = "scheduler_config.json"
    return _describe_differences(_schedule(read_json(theirs / name)), _schedule(read_json(ours / name)))


def _schedule(config: Mapping[str, Any]) -> NetworkConfig:
    """Return the noise schedule, with defaults filled in.

    A timestep spacing that is the default of its scheduler class is replaced by the common default, because it is a
    property of the solver and not of the model.
    """
    import diffusers

    kind = str(config.get("_class_name", ""))
    is_class = kind.endswith("Scheduler") and hasattr(diffusers, kind)
    defaults = _parameters(getattr(diffusers, kind)) if is_class else SCHEDULE
    schedule = {name: config.get(name, defaults.get(name, default)) for name, default in SCHEDULE.items()}
    if schedule["timestep_spacing"] == defaults.get("timestep_spacing"):
        schedule["timestep_spacing"] = SCHEDULE["timestep_spacing"]
    betas = {"beta_start", "beta_end", "beta_schedule"}
    if "beta_start" not in {*defaults, *config}:  # for example flow matching, which has no schedule of betas
        return {**schedule, **dict.fromkeys(betas), "prediction_type": config.get("prediction_type", kind)}
    return schedule


def _compare_weights(network: Any, theirs: Path, ours: Path) -> str:
    """Load both networks with their library, which converts older names and layouts, and compare every tensor."""
    from metrics.networks.weights import check_values

    first, second = (read_state(network, folder) for folder in (theirs, ours))
    check_values(first, f"The weights in {theirs}")
    return compare_states(first, second)


def compare_states(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> str:
    """Describe how the tensors of two networks differ; empty if they are equal at the lower of their two precisions."""
    if first.keys() != second.keys():
        return f"'{min(first.keys() ^ second.keys())}' exists in only one of the two"
    odd = [name for name, tensor in second.items() if not _is_same(first[name], tensor)]
    return f"different weights in {len(odd)} of {len(second)} tensors" if odd else ""


def read_state(network: Any, folder: Path) -> dict[str, Tensor]:
    """Return the weights of a network in a folder, as its class (`network`) loads them."""
    from safetensors import SafetensorError

    from metrics.networks.weights import check_is_itself, stored

    variant, files = stored([file.name for file in visible(folder, "*")], str(folder))
    if not files:
        raise DataError(f"{folder} has no weights in safetensors to compare with the testbed's: {ELSE}.")
    for file in files:
        check_is_itself(folder / file)
    try:
        loaded, notes = network.from_pretrained(
            folder, use_safetensors=True, variant=variant, output_loading_info=True, local_files_only=True
        )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise DataError(f"The weights in {folder} cannot be loaded ({_first_line(error)}): {ELSE}.") from error
    if missing := sorted(notes["missing_keys"]):
        raise DataError(f"The weights in {folder} do not fit their config.json: they lack '{missing[0]}'; {ELSE}.")
    return dict(loaded.state_dict())


def _is_same(theirs: Tensor, ours: Tensor) -> bool:
    """Return whether two tensors are equal, at the lower of their two precisions."""
    import torch

    if theirs.shape != ours.shape:
        return False
    a, b = theirs.float(), ours.float()
    if torch.equal(a, b):
        return True
    halves = (torch.float16, torch.bfloat16)
    if any(torch.equal(a, b.to(half).float()) or torch.equal(b, a.to(half).float()) for half in halves):
        return True
    # One tensor is fp16 and one bf16, both rounded from the same values: compare at the resolution of bf16.
    fine, coarse = ((x.to(half).float() for x in (a, b)) for half in halves)
    kinds = [torch.equal(x, y) for x, y in zip((a, b), fine, strict=True)]
    kinds += [torch.equal(x, y) for x, y in zip((a, b), coarse, strict=True)]
    mixed = (kinds[0] and kinds[3]) or (kinds[1] and kinds[2])
    return mixed and torch.allclose(a, b, rtol=torch.finfo(torch.bfloat16).eps, atol=2.0**-24)


def _describe_differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Describe the fields that differ, such as "beta_end 0.02, not 0.012; beta_start ..."; empty if none differ."""
    odd = [name for name in ours if _plain(theirs.get(name)) != _plain(ours[name])]
    return "; ".join(f"{name} {_plain(theirs.get(name))}, not {_plain(ours[name])}" for name in odd)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _checksums(folder: Path) -> dict[str, str]:
    """Return the sha256 of a part's files by name. Parts with equal checksums need no further comparison."""
    sums = {}
    for file in visible(folder, "*"):
        if file.is_file() and not file.name.startswith("."):
            with open(file, "rb") as opened:
                sums[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return sums


def _parameters(kind: Any) -> dict[str, Any]:
    """Return the parameters of a class's constructor with their defaults; None for a parameter without a default."""
    empty = inspect.Parameter.empty
    return {
        name: None if given.default is empty else given.default
        for name, given in inspect.signature(kind.__init__).parameters.items()
        if name not in ("self", "args", "kwargs")
    }


def read_json(file: Path) -> JsonObject:
    """Read a JSON object from a file.

    Raises:
        DataError: if the file cannot be read, or is not a JSON object.
    """
    try:
        return dict(json.loads(file.read_text("utf-8-sig")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{file} cannot be read ({_first_line(error)}).") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
