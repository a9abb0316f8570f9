"""Reads the parts of a pipeline's folder: text encoder, VAE, tokenizer and noise schedule, and their checksums."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import DataError
from benchmark.json_types import JsonObject, NetworkConfig
from benchmark.store.listing import visible

if TYPE_CHECKING:
    from torch import Tensor

ELSE = "save the pipeline again with diffusers, or score only its U-Net with --parts unet"
"""What to do about a part whose files are damaged."""
UNFIT = "choose the testbed of its base model, or score only its U-Net with --parts unet"
"""What to do about a part that cannot be used here."""
CLIP = ("clip_text_model", "clip")
"""Model types in configs of CLIP's text encoder: alone, and saved with its image encoder's config."""
TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes in configs of CLIP's tokenizer. The last two are general ones, under which transformers can save it."""
SCHEDULE = {
    "num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": None,
    "prediction_type": "epsilon", "rescale_betas_zero_snr": False, "thresholding": False,
    "timestep_spacing": "leading", "use_flow_sigmas": False,
}  # fmt: skip
"""Fields of a scheduler's config that belong to the model rather than to the solver, with the defaults of diffusers.
A scheduler class may have different defaults."""
MOST_STEPS = 100_000
"""Largest number of steps of a noise schedule; usual are 1,000."""
LARGEST_JSON = 1 << 26
"""Largest size of a JSON file in bytes."""
STEPS = Path("scheduler") / "scheduler_config.json"
"""The scheduler's file in a pipeline's folder."""


def read_json(file: Path) -> JsonObject:
    """Read a JSON object from a file.

    Raises:
        DataError: if the file cannot be read, or is not a JSON object.
    """
    try:
        if file.stat().st_size > LARGEST_JSON:
            raise ValueError(f"it has more than {LARGEST_JSON:,} bytes")
        return dict(json.loads(file.read_text("utf-8-sig")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{file} cannot be read ({first_line(error)}).") from error


def read_schedule(pipeline: Path) -> NetworkConfig:
    """Return the noise schedule of a pipeline: the fields `SCHEDULE`, with defaults filled in.

    A timestep spacing that is the default of its scheduler class is replaced by the common default, because it is a
    property of the solver and not of the model.

    Raises:
        DataError: if the scheduler's file cannot be read.
    """
    import diffusers

    config = read_json(pipeline / STEPS)
    steps = config.get("num_train_timesteps", 1000)
    if type(steps) is not int or not 0 < steps <= MOST_STEPS:
        raise DataError(
            f"{pipeline / STEPS} has num_train_timesteps {str(steps)[:40]}, which must be a whole number from 1 to "
            f"{MOST_STEPS:,}: {ELSE}."
        )
    kind = str(config.get("_class_name", ""))
    is_class = kind.endswith("Scheduler") and hasattr(diffusers, kind)
    defaults = parameters(getattr(diffusers, kind)) if is_class else SCHEDULE
    schedule = {name: config.get(name, defaults.get(name, default)) for name, default in SCHEDULE.items()}
    if schedule["timestep_spacing"] == defaults.get("timestep_spacing"):
        schedule["timestep_spacing"] = SCHEDULE["timestep_spacing"]
    betas = {"beta_start", "beta_end", "beta_schedule"}
    if "beta_start" not in {*defaults, *config}:  # for example flow matching, which has no schedule of betas
        return {**schedule, **dict.fromkeys(betas), "prediction_type": config.get("prediction_type", kind)}
    return schedule


def load_text_encoder(folder: Path) -> Any:
    """Load a CLIPTextModel from its folder, in fp32 and eval mode.

    Raises:
        DataError: if it is of a different class, or its weights are damaged, incomplete, or NaN.
    """
    from transformers import CLIPTextModel

    _check_class(folder / "config.json", "model_type", CLIP)
    return _load(CLIPTextModel, folder)


def load_vae(folder: Path) -> Any:
    """Load an AutoencoderKL from its folder, in fp32 and eval mode. Errors are those of `load_text_encoder`."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    _check_class(folder / "config.json", "_class_name", (AutoencoderKL.__name__,))
    return _load(AutoencoderKL, folder)


def load_tokenizer(folder: Path) -> Any:
    """Load a CLIPTokenizer from its folder; DataError if it is of a different class or cannot be read."""
    from transformers import CLIPTokenizer

    if (folder / "tokenizer_config.json").is_file():
        _check_class(folder / "tokenizer_config.json", "tokenizer_class", TOKENIZERS)
    try:
        return CLIPTokenizer.from_pretrained(folder)
    except Exception as error:  # tokenizers raises bare Exception, e.g. for merges that do not fit the vocabulary
        raise DataError(f"The tokenizer in {folder} cannot be read ({first_line(error)}): {ELSE}.") from error


def _check_class(file: Path, field: str, allowed: Sequence[str]) -> None:
    """Raise DataError if a field of a config names a class that is not allowed. A missing field is allowed."""
    kind = read_json(file).get(field) or allowed[0]
    if kind not in allowed:
        raise DataError(
            f"{file} has {field} {kind}, which the testbed's sampling cannot use instead of {allowed[0]}: {UNFIT}."
        )


def _load(kind: Any, folder: Path) -> Any:
    from metrics.networks.weights import check_values

    network = load_network(kind, folder)
    check_values(network.state_dict(), f"The weights in {folder}")
    return network.float().eval().requires_grad_(False)


def load_network(kind: Any, folder: Path) -> Any:
    """Load a network with its library, which converts older names and layouts, in the precision of its files.

    Args:
        kind: CLIPTextModel or AutoencoderKL.
        folder: its folder, with config.json and weights in safetensors.

    Raises:
        DataError: if the weights are missing, damaged, or do not fit config.json. NaN is not checked.
    """
    from safetensors import SafetensorError
    from transformers import CLIPTextModel

    from metrics.networks.untrusted import check_part
    from metrics.networks.weights import check_is_itself, stored

    check_part(folder)
    variant, files = stored([file.name for file in visible(folder, "*")], str(folder))
    if not files:
        raise DataError(f"{folder} has no weights in safetensors: {ELSE}.")
    for file in files:
        check_is_itself(folder / file)
    try:
        network, notes = kind.from_pretrained(
            folder, use_safetensors=True, variant=variant, output_loading_info=True, local_files_only=True
        )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise DataError(f"The weights in {folder} cannot be loaded ({first_line(error)}): {ELSE}.") from error
    if missing := sorted(notes["missing_keys"]):
        raise DataError(f"The weights in {folder} do not fit their config.json: they lack '{missing[0]}'; {ELSE}.")
    # A file of a whole CLIP also holds the image tower, so unexpected keys are allowed in a text encoder.
    if kind is not CLIPTextModel and (unexpected := sorted(notes["unexpected_keys"])):
        raise DataError(
            f"The weights in {folder} do not fit their config.json: it has no layer for '{unexpected[0]}'; {ELSE}."
        )
    return network


def file_checksums(folder: Path) -> dict[str, str]:
    """Return the sha256 of a part's files by name."""
    sums = {}
    for file in visible(folder, "*"):
        if file.is_file() and not file.name.startswith("."):
            with open(file, "rb") as opened:
                sums[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return sums


def part_checksum(pipeline: Path, part: str) -> str:
    """Return the sha256 that identifies a part by its contents, independently of its path.

    It covers what the part is loaded from: the weights of a network and its config without fields that only describe
    its origin, all files of a tokenizer, and the noise schedule of a scheduler.
    """
    from metrics.networks.weights import stored

    if part == "scheduler":
        return checksum(read_schedule(pipeline))
    sums = file_checksums(pipeline / part)
    if part == "tokenizer":
        return checksum(sums)
    config = {name: value for name, value in read_json(pipeline / part / "config.json").items() if name not in ORIGIN}
    weights = [sums[name] for name in stored(list(sums), str(pipeline / part))[1]]
    return checksum({"config": config, "weights": weights})


ORIGIN = ("_name_or_path", "_diffusers_version", "transformers_version", "torch_dtype", "dtype", "architectures")
"""Fields of a network's config that do not change what it computes."""


def checksum(content: Any) -> str:
    """Return the sha256 of a JSON value."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def tensors_checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of tensors: their names, types, shapes and values. The kind of file does not matter."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def parameters(kind: Any) -> dict[str, Any]:
    """Return the parameters of a class's constructor with their defaults; None for a parameter without a default."""
    empty = inspect.Parameter.empty
    return {
        name: None if given.default is empty else given.default
        for name, given in inspect.signature(kind.__init__).parameters.items()
        if name not in ("self", "args", "kwargs")
    }


def describe_differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Describe the fields that differ, such as "beta_end 0.02, not 0.012; beta_start ..."; empty if none differ."""
    odd = different_fields(theirs, ours)
    return "; ".join(f"{name} {_plain(theirs.get(name))}, not {_plain(ours[name])}" for name in odd)


def different_fields(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields of `ours` that have a different value in `theirs`."""
    return [name for name in ours if _plain(theirs.get(name)) != _plain(ours[name])]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its class if it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
