"""Whether a checkpoint's pipeline is the testbed's but for its U-Net: other parts that differ would not be used.

    text_encoder, vae   fields of the config that change what they compute, and every weight
    tokenizer           vocabulary, merges, special tokens, normalisation and length
    scheduler           the noise schedule; which solver takes which steps is the testbed's, for all models alike
    model_index.json    the pipeline's class, which may sample in a way of its own, and parts that the testbed lacks

A part is equal whatever its files are called and however its weights are named, sharded or saved: a copy in half
precision is the testbed's part, rounded. The safety checker and what serves pictures as prompts are passed over.
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
ELSE = "save the pipeline again by diffusers, or score its U-Net alone with --parts unet"
PASSED_OVER = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts that make no picture from text."""
LORA = "pytorch_lora_weights"
"""What diffusers calls files of LoRAs."""
TEXT_TO_IMAGE = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
"""Classes that sample as the testbeds do."""
TEXT = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act",
    "max_position_embeddings", "layer_norm_eps",
)  # fmt: skip
"""Fields of a text encoder's config that change its hidden states."""
SAME_RESULT = ("sample_size", "force_upcast")
"""Fields of a VAE's config that do not change what it computes."""
SCHEDULE = {
    "num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": None,
    "prediction_type": "epsilon", "rescale_betas_zero_snr": False, "thresholding": False,
    "timestep_spacing": "leading",
}  # fmt: skip
"""Fields of a scheduler's config that belong to the model, with diffusers' defaults where a class has no other."""


def differences(theirs: Path, ours: Path) -> list[str]:
    """What differs, but for the U-Net, between a checkpoint's pipeline and the testbed's: "vae (scaling_factor 1, not
    0.18215)". A part that its index does not name and that is not there is not compared. DataError for one that cannot
    be read."""
    index = _index(theirs)
    unlike = [*_further(index, _index(ours))]
    compare = {"text_encoder": _text_encoder, "vae": _vae, "tokenizer": _tokenizer, "scheduler": _scheduler}
    for part in COMPARED:
        if not (theirs / part).is_dir():
            unlike += [f"{part} (its folder is not there)"] if any(index.get(part) or ()) else []
        elif not (ours / part).is_dir():
            unlike.append(f"{part} (the testbed has no such folder)")
        elif _checksums(theirs / part) != _checksums(ours / part):
            unlike += [f"{part} ({what})" for what in [compare[part](theirs / part, ours / part)] if what]
    return unlike


def loras(folder: Path) -> list[str]:
    """Files of LoRAs in a folder, by the name that diffusers gives them: a U-Net beside them is without them."""
    return [file.name for file in visible(folder, f"{LORA}*") if file.is_file()]


def prediction_type(pipeline: Path) -> str | None:
    """What a pipeline's U-Net predicts; None where it has no scheduler."""
    file = pipeline / "scheduler" / "scheduler_config.json"
    return str(_schedule(read_json(file))["prediction_type"]) if file.is_file() else None


def _index(pipeline: Path) -> JsonObject:
    file = pipeline / "model_index.json"
    return read_json(file) if file.is_file() else {}


def _further(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """The pipeline's class and its further parts, as the index names them."""
    kind = theirs.get("_class_name", TEXT_TO_IMAGE[0])
    if kind not in (*TEXT_TO_IMAGE, ours.get("_class_name")):
        yield f"its pipeline's class ({kind})"
    for name, value in theirs.items():
        part = isinstance(value, list) and any(value) and not name.startswith("_")
        if part and name not in ("unet", *COMPARED, *PASSED_OVER) and not ours.get(name):
            yield f"{name} (the testbed has none)"


def _text_encoder(theirs: Path, ours: Path) -> str:
    from transformers import CLIPTextModel

    configs = [_text_config(folder) for folder in (theirs, ours)]
    return _unlike(*configs) or _weights(CLIPTextModel, theirs, ours)


def _text_config(folder: Path) -> NetworkConfig:
    from transformers import CLIPTextConfig

    config = read_json(folder / "config.json")
    kind = config.get("model_type", "clip_text_model")
    if kind not in ("clip_text_model", "clip"):
        return {"model_type": kind}
    try:
        full = CLIPTextConfig.from_pretrained(folder)
    except Exception as error:  # each field is checked by an error class of its own
        raise DataError(f"{folder / 'config.json'} cannot be read ({_first_line(error)}): {ELSE}.") from error
    return {"model_type": "clip_text_model", **{name: getattr(full, name) for name in TEXT}}


def _vae(theirs: Path, ours: Path) -> str:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    defaults = _parameters(AutoencoderKL)
    configs = []
    for folder in (theirs, ours):
        config = read_json(folder / "config.json")
        fields = {name: value for name, value in {**defaults, **config}.items() if name in defaults}
        kind = {"_class_name": config.get("_class_name", AutoencoderKL.__name__)}
        configs.append(kind | {name: value for name, value in fields.items() if name not in SAME_RESULT})
    return _unlike(*configs) or _weights(AutoencoderKL, theirs, ours)


def _tokenizer(theirs: Path, ours: Path) -> str:
    from transformers import CLIPTokenizer

    read = []
    for folder in (theirs, ours):
        try:
            words: Any = CLIPTokenizer.from_pretrained(folder)
        except Exception as error:  # tokenizers raises nothing narrower, for merges that do not fit the vocabulary, say
            raise DataError(f"The tokenizer in {folder} cannot be read ({_first_line(error)}): {ELSE}.") from error
        form = json.loads(words.backend_tokenizer.to_str())
        form |= {"length": words.model_max_length, "padding": words.pad_token_id, "truncation": None, "decoder": None}
        read.append(form)
    names = {"model": "vocabulary", "added_tokens": "added tokens", "padding": "padding token", "length": "length"}
    odd = [names.get(name, name) for name in read[1] if read[0].get(name) != read[1][name]]
    return f"another {', '.join(odd)}" if odd else ""


def _scheduler(theirs: Path, ours: Path) -> str:
    name = "scheduler_config.json"
    return _unlike(_schedule(read_json(theirs / name)), _schedule(read_json(ours / name)))


def _schedule(config: Mapping[str, Any]) -> NetworkConfig:
    """The noise schedule in full. A solver's own usual spacing of its steps says nothing of the model."""
    import diffusers

    kind = str(config.get("_class_name", ""))
    there = kind.endswith("Scheduler") and hasattr(diffusers, kind)
    usual = _parameters(getattr(diffusers, kind)) if there else SCHEDULE
    schedule = {name: config.get(name, usual.get(name, default)) for name, default in SCHEDULE.items()}
    if schedule["timestep_spacing"] == usual.get("timestep_spacing"):
        schedule["timestep_spacing"] = SCHEDULE["timestep_spacing"]
    betas = {"beta_start", "beta_end", "beta_schedule"}
    if "beta_start" not in {*usual, *config}:  # flow matching, say: no schedule of betas at all
        return {**schedule, **dict.fromkeys(betas), "prediction_type": config.get("prediction_type", kind)}
    return schedule


def _weights(network: Any, theirs: Path, ours: Path) -> str:
    """Both loaded by the library that knows their layouts and older names, and compared tensor by tensor."""
    from metrics.networks.weights import check_values

    first, second = (_state(network, folder) for folder in (theirs, ours))
    check_values(first, f"The weights in {theirs}")
    if first.keys() != second.keys():
        return f"another '{min(first.keys() ^ second.keys())}'"
    odd = [name for name, tensor in second.items() if not _same(first[name], tensor)]
    return f"other weights in {len(odd)} of {len(second)} tensors" if odd else ""


def _state(network: Any, folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError

    from metrics.networks.weights import check_is_itself, stored

    variant, files = stored([file.name for file in visible(folder, "*")], str(folder))
    if not files:
        raise DataError(f"{folder} has no weights in safetensors, to be compared with the testbed's: {ELSE}.")
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


def _same(theirs: Tensor, ours: Tensor) -> bool:
    """Whether two tensors are equal, or one is the other in half precision."""
    import torch

    if theirs.shape != ours.shape:
        return False
    a, b = theirs.float(), ours.float()
    if torch.equal(a, b):
        return True
    halves = (torch.float16, torch.bfloat16)
    if any(torch.equal(a, b.to(half).float()) or torch.equal(b, a.to(half).float()) for half in halves):
        return True
    # One in fp16 and one in bf16, both rounded from the same: equal to the last digit of bf16.
    fine, coarse = ((x.to(half).float() for x in (a, b)) for half in halves)
    kinds = [torch.equal(x, y) for x, y in zip((a, b), fine, strict=True)]
    kinds += [torch.equal(x, y) for x, y in zip((a, b), coarse, strict=True)]
    mixed = (kinds[0] and kinds[3]) or (kinds[1] and kinds[2])
    return mixed and torch.allclose(a, b, rtol=torch.finfo(torch.bfloat16).eps, atol=2.0**-24)


def _unlike(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Fields that differ: "beta_end 0.02, not 0.012; beta_start ..."."""
    odd = [name for name in ours if _plain(theirs.get(name)) != _plain(ours[name])]
    return "; ".join(f"{name} {_plain(theirs.get(name))}, not {_plain(ours[name])}" for name in odd)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _checksums(folder: Path) -> dict[str, str]:
    """Checksums of a part's files by their names; a part with the same is the same, whatever it holds."""
    sums = {}
    for file in visible(folder, "*"):
        if file.is_file() and not file.name.startswith("."):
            with open(file, "rb") as opened:
                sums[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return sums


def _parameters(kind: Any) -> dict[str, Any]:
    """Defaults of a class's settings."""
    empty = inspect.Parameter.empty
    return {
        name: None if given.default is empty else given.default
        for name, given in inspect.signature(kind.__init__).parameters.items()
        if name not in ("self", "args", "kwargs")
    }


def read_json(file: Path) -> JsonObject:
    """A JSON file's table. DataError if it cannot be read."""
    try:
        return dict(json.loads(file.read_text("utf-8-sig")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{file} cannot be read ({_first_line(error)}).") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
