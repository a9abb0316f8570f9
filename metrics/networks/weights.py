"""Reads and checks published weights, from safetensors files or from .pth, .pt, .bin and .ckpt files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import DataError
from metrics.networks.untrusted import load_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPERS = ("model_state_dict", "state_dict", "model")
"""Keys under which training scripts store the weights in a checkpoint."""
COUNTERS = "num_batches_tracked"
"""Suffix of batch norm's counters. Files from before 2018 lack them, and evaluation does not use them."""
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Suffixes of the files that `read_weights` can read."""
INSIDE = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Name parts that torch.compile, FSDP and activation checkpointing insert before the module that they wrap."""
_AVERAGED = re.compile(r"(^|[_.-])ema([_.-]|$)", re.IGNORECASE)
"""Pattern for names of weights that are averaged over a training (exponential moving average)."""
_STORED = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<a>[\w-]+?))?(?:-(?P<shard>\d{5})-of-(?P<shards>\d{5}))?(?:\.(?P<b>[\w-]+))?"
    r"\.safetensors"
)
"""File names of weights saved by diffusers and transformers.

The variant, such as "fp16", may be before or after the shard number.
"""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weight file by name, on the CPU, without name parts that wrappers add (`module.`).

    Raises DataError if the file cannot be read, contains no tensors, contains several models or invalid values (see
    `check_values`), or would have to be unpickled.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_is_itself(path)
    try:
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            content = load_tensors(path)
    except DataError:
        raise
    except (OSError, SafetensorError, ValueError, EOFError, RuntimeError) as error:
        first = _first_line(error).partition(". ")[0]
        raise DataError(f"The weights {path} cannot be read ({first}): download them again.") from error
    except Exception as error:  # errors of pickle, whose module is not imported here
        raise DataError(
            f"The weights {path} contain other objects than tensors, which are not unpickled for security: save the "
            "weights as safetensors."
        ) from error
    for name in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            _check_single(content, path)
            content = content[name]
    if isinstance(content, Mapping):
        _check_single(content, path)
    named = _flat(content) if isinstance(content, Mapping) else {}
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    if not tensors or len(tensors) < len(named):
        raise DataError(
            f"The file {path} is not a checkpoint: it contains no tensors by name, or other values as well."
        )
    weights = {unwrapped(name): tensor for name, tensor in tensors.items()}
    if len(weights) < len(tensors):
        raise DataError(f"The weights {path} contain some tensors twice, wrapped and unwrapped: save only one model.")
    check_values(weights, f"The weights {path}")
    return weights


def check_is_itself(path: Path) -> None:
    """Raise DataError if a file is a web page or a Git LFS pointer instead of weights."""
    try:
        with open(path, "rb") as opened:
            start = opened.read(200).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    except OSError:
        return  # the function that loads the file reports the error
    if start.startswith(b"version https://git-lfs"):
        raise DataError(f"{path} is a Git LFS pointer, not the weights: run `git lfs pull`, or download the file.")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(f"{path} is a web page, not weights: download the file itself.")


def is_averaged(name: str) -> bool:
    """Return whether a file, folder or key has a name for averaged (EMA) weights, such as "unet_ema"."""
    return "non_ema" not in name.lower() and _AVERAGED.search(name) is not None


def _check_single(loaded: Mapping[str, Any], path: Path) -> None:
    """Raise DataError if a file contains the weights of several models, because the user has to choose one."""
    tables = {str(key): table for key, table in loaded.items() if _holds_tensors(table)}
    averaged = [name for name in tables if is_averaged(name)]
    plain = [name for name, table in tables.items() if name not in averaged and isinstance(table, Mapping)]
    rivals = [(plain[0], averaged[0])] if plain and averaged else []
    for first, second in combinations(plain, 2):
        if tables[first].keys() == tables[second].keys() and any("." in str(name) for name in tables[first]):
            rivals.append((first, second))
    if rivals:
        raise DataError(
            f"The weights {path} contain several models ('{rivals[0][0]}' and '{rivals[0][1]}'): save only the "
            "one to use."
        )


def _holds_tensors(value: object) -> bool:
    """Return whether a dict or list contains a tensor, at most two levels deep."""
    import torch

    for _ in range(2):
        inner = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
        if any(isinstance(entry, torch.Tensor) for entry in inner):
            return True
        value = next((entry for entry in inner if isinstance(entry, Mapping | list)), None)
    return False


def unwrapped(name: str) -> str:
    """Return a weight's name without the parts of torch.compile, FSDP, checkpointing and data-parallel wrappers."""
    parts = [part for part in name.split(".") if part not in INSIDE]
    while len(parts) > 1 and parts[0] == "module":
        parts = parts[1:]
    return ".".join(parts)


def check_values(weights: Mapping[str, Tensor], what: str) -> None:
    """Raise DataError if weights cannot be the result of a training.

    This is the case if any tensor contains NaN or an infinity, or if more than half of the matrices have the same value
    (usually 0) everywhere. The latter happens if a save did not gather the weights of other processes. Single matrices
    may be constant, because some layers are initialised to 0.

    Args:
        weights: tensors by name.
        what: beginning of the error message, such as "The weights x.pt".
    """
    matrices, blank = 0, []
    for name, tensor in weights.items():
        if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.is_meta:
            continue
        wide = tensor.float() if tensor.itemsize == 1 else tensor  # 8-bit types support few operations
        if broken := int((~wide.isfinite()).sum()):
            raise DataError(
                f"{what} are broken, because {broken} of {tensor.numel()} values of '{name}' are NaN or infinite: "
                "download them again, or use a checkpoint from before the training diverged."
            )
        if wide.ndim > 1 and wide.numel() > 1 and not wide.is_complex():
            matrices += 1
            low, high = wide.aminmax()
            blank += [name] if low == high else []
    if 2 * len(blank) > matrices:
        value = float(weights[blank[0]].flatten()[0])
        raise DataError(
            f"{what} are blank, because {len(blank)} of {matrices} matrices are constant ('{blank[0]}' is {value:g} "
            "everywhere): save them again, gathered from all training processes."
        )


def check_kind(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str) -> None:
    """Raise DataError if a tensor has integers (is quantised) where the network has floating-point numbers."""
    for name, tensor in weights.items():
        if name in own and own[name].is_floating_point() and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise DataError(f"{what} contain '{name}' as {kind} instead of floating point: save them unquantised.")


def stored(names: Sequence[str], where: str) -> tuple[str | None, list[str]]:
    """Return the variant and the file names of the weights in a folder; no files if it has no safetensors weights.

    The files without a variant are used; if there are none, those of the only variant, such as "fp16".

    Args:
        names: all file names in the folder.
        where: name of the folder for error messages.

    Raises DataError if there are several variants but no files without one, if shards are missing, or if the weights
    are stored in two forms (whole and in shards, or with two numbers of shards), one of which is from an earlier save.
    """
    variants: dict[str, list[re.Match[str]]] = {}
    for name in sorted(names):
        if match := _STORED.fullmatch(name):
            variants.setdefault(match["a"] or match["b"] or "", []).append(match)
    if not variants:
        return None, []
    if "" not in variants and len(variants) > 1:
        raise DataError(f"{where} contains weights only as variants {' and '.join(variants)}: keep one of them.")
    variant = "" if "" in variants else next(iter(variants))
    files = variants[variant]
    # diffusers would read the shards and transformers the whole file, and it is unknown which of them are newer.
    if len({match["shards"] for match in files}) > 1:
        forms = [f"in {int(match['shards'])} shards" if match["shards"] else "whole" for match in files]
        raise DataError(
            f"{where} contains its weights {' and '.join(sorted(set(forms)))}: remove the files of the earlier save."
        )
    if not files[0]["shard"]:
        return variant or None, [files[0].string]
    if len(files) < int(files[0]["shards"]):
        raise DataError(
            f"{where} contains only {len(files)} of the {int(files[0]['shards'])} files of its weights: add the others."
        )
    return variant or None, [match.string for match in files]


def fill(network: nn.Module, weights: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Load `weights` into `network` in place. Batch norm's counters may be missing.

    Raises DataError if other names or shapes do not match; the message contains `path` and the network's name `what`.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in weights and not name.endswith(COUNTERS)]
    foreign = [name for name in weights if name not in own]
    reshaped = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    for verb, names in (("lack", missing), ("have an unexpected", foreign), ("have a different shape of", reshaped)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise DataError(f"The weights {path} are not those of {what}: they {verb} '{names[0]}'{more}.")
    check_kind(weights, own, f"The weights {path}")
    network.load_state_dict({**own, **weights}, strict=True)


def _flat(nested: Mapping[str, object]) -> dict[str, object]:
    """Flatten weights that are nested by module, as in ESD's files: {"mid_block.attn": {"weight": ...}}."""
    flat: dict[str, object] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": tensor for inner, tensor in value.items()}
        else:
            flat[str(name)] = value
    return flat


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
