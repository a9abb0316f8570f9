"""Published weights from files: safetensors, or a .pth, .pt, .bin or .ckpt where authors published nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPERS = ("model_state_dict", "state_dict", "model")
"""Names under which training scripts put the weights of a checkpoint."""
COUNTERS = "num_batches_tracked"
"""Batch norm's counters are missing in files of before 2018, and evaluation never reads them."""
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Of files that `read_weights` reads."""
INSIDE = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch.compile, FSDP and activation checkpointing put into names, in front of the module that they wrap."""
_AVERAGED = re.compile(r"(^|[_.-])ema([_.-]|$)", re.IGNORECASE)
"""Names of weights that are averaged over a training (exponential moving average)."""
_STORED = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<a>[\w-]+?))?(?:-(?P<shard>\d{5})-of-(?P<shards>\d{5}))?(?:\.(?P<b>[\w-]+))?"
    r"\.safetensors"
)
"""Weights of a network in the layout of diffusers and transformers, with their variant ("fp16") before or after."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Name -> tensor, on the CPU; what wrappers add to names (`module.`, `_orig_mod.`) is removed.

    Raises DataError for a file that cannot be read, that has no tensors, that holds several models or broken tensors
    (`check_values`), or that would have to be unpickled.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_is_itself(path)
    try:
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)  # tensors and plain containers, no code
    except (OSError, SafetensorError, ValueError, EOFError, RuntimeError) as error:
        raise DataError(f"The weights {path} cannot be read ({_first_line(error)}): download them again.") from error
    except Exception as error:  # pickle's own errors, whose module nobody here imports
        raise DataError(
            f"The weights {path} hold more than tensors, and nothing is unpickled here: save them as safetensors."
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
        raise DataError(f"The file {path} holds no table of weights by name: it is not a checkpoint.")
    weights = {unwrapped(name): tensor for name, tensor in tensors.items()}
    if len(weights) < len(tensors):
        raise DataError(f"The weights {path} hold some tensors twice, wrapped and unwrapped: save one model alone.")
    check_values(weights, f"The weights {path}")
    return weights


def check_is_itself(path: Path) -> None:
    """DataError for a web page or a pointer of Git LFS that was saved under the name of weights."""
    try:
        with open(path, "rb") as opened:
            start = opened.read(200).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    except OSError:
        return  # whatever loads the file says what is wrong with it
    if start.startswith(b"version https://git-lfs"):
        raise DataError(f"{path} is a pointer of Git LFS, not the weights: run `git lfs pull`, or download the file.")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(f"{path} is a web page, not weights: download the file itself.")


def is_averaged(name: str) -> bool:
    """Whether a file, a folder or a table is called after averaged (EMA) weights: "unet_ema", "ema_state_dict"."""
    return "non_ema" not in name.lower() and _AVERAGED.search(name) is not None


def _check_single(loaded: Mapping[str, Any], path: Path) -> None:
    """DataError for tables of several models in one file: which of them is meant cannot be known."""
    tables = {str(key): table for key, table in loaded.items() if _holds_tensors(table)}
    averaged = [name for name in tables if is_averaged(name)]
    plain = [name for name, table in tables.items() if name not in averaged and isinstance(table, Mapping)]
    rivals = [(plain[0], averaged[0])] if plain and averaged else []
    for first, second in combinations(plain, 2):
        if tables[first].keys() == tables[second].keys() and any("." in str(name) for name in tables[first]):
            rivals.append((first, second))
    if rivals:
        raise DataError(
            f"The weights {path} hold several models ('{rivals[0][0]}' and '{rivals[0][1]}'): save the one to be read "
            "alone in a file."
        )


def _holds_tensors(value: object) -> bool:
    """Whether there is a tensor in a table or list, at most two levels deep."""
    import torch

    for _ in range(2):
        inner = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else []
        if any(isinstance(entry, torch.Tensor) for entry in inner):
            return True
        value = next((entry for entry in inner if isinstance(entry, Mapping | list)), None)
    return False


def unwrapped(name: str) -> str:
    """A weight's name without what torch.compile, FSDP, checkpointing and data-parallel training put into it."""
    parts = [part for part in name.split(".") if part not in INSIDE]
    while len(parts) > 1 and parts[0] == "module":
        parts = parts[1:]
    return ".".join(parts)


def check_values(weights: Mapping[str, Tensor], what: str) -> None:
    """DataError for weights that no training ends with; `what` begins the sentence ("The weights x.pt").

    These are a NaN or an infinity in any tensor, and one value alone (most often 0) all through most of the matrices,
    as a save leaves it that did not gather the weights of other processes. Single matrices may be so: some layers begin
    at 0.
    """
    matrices, blank = 0, []
    for name, tensor in weights.items():
        if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.is_meta:
            continue
        wide = tensor.float() if tensor.itemsize == 1 else tensor  # 8-bit types support few operations
        if broken := int((~wide.isfinite()).sum()):
            raise DataError(
                f"{what} are broken: {broken} of {tensor.numel()} values of '{name}' are NaN or infinite; download "
                "them again, or take a checkpoint from before the training diverged."
            )
        if wide.ndim > 1 and wide.numel() > 1 and not wide.is_complex():
            matrices += 1
            low, high = wide.aminmax()
            blank += [name] if low == high else []
    if 2 * len(blank) > matrices:
        value = float(weights[blank[0]].flatten()[0])
        raise DataError(
            f"{what} are blank: {len(blank)} of {matrices} matrices hold one value alone ('{blank[0]}' is {value:g} "
            "throughout); save them again, gathered from all processes that trained them."
        )


def check_kind(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], what: str) -> None:
    """DataError for a tensor of whole numbers where the network has floating point, as quantised weights have them."""
    for name, tensor in weights.items():
        if name in own and own[name].is_floating_point() and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise DataError(f"{what} hold '{name}' as {kind}, not as floating point: save them unquantised.")


def stored(names: Sequence[str], where: str) -> tuple[str | None, list[str]]:
    """Variant and files of the weights among a folder's file names: the usual ones, else the only variant ("fp16").

    No files where there are none in safetensors. DataError, about the folder `where`, for several variants without a
    usual one, for weights that are there twice (whole and in shards, or in shards of two counts, of which one is left
    from an earlier save), and for shards that are not all there.
    """
    variants: dict[str, list[re.Match[str]]] = {}
    for name in sorted(names):
        if match := _STORED.fullmatch(name):
            variants.setdefault(match["a"] or match["b"] or "", []).append(match)
    if not variants:
        return None, []
    if "" not in variants and len(variants) > 1:
        raise DataError(f"{where} holds its weights as {' and '.join(variants)} alone: keep one of them.")
    variant = "" if "" in variants else next(iter(variants))
    files = variants[variant]
    # diffusers reads the shards, transformers the whole: which are newer is not to be seen.
    if len({match["shards"] for match in files}) > 1:
        forms = [f"in {int(match['shards'])} shards" if match["shards"] else "whole" for match in files]
        raise DataError(
            f"{where} holds its weights {' and '.join(sorted(set(forms)))}: take away those of the earlier save."
        )
    if not files[0]["shard"]:
        return variant or None, [files[0].string]
    if len(files) < int(files[0]["shards"]):
        raise DataError(f"{where} holds {len(files)} of the {int(files[0]['shards'])} files of its weights.")
    return variant or None, [match.string for match in files]


def fill(network: nn.Module, weights: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Put `weights` into `network`. DataError unless names and shapes match; batch norm's counters may be missing."""
    own = network.state_dict()
    missing = [name for name in own if name not in weights and not name.endswith(COUNTERS)]
    foreign = [name for name in weights if name not in own]
    reshaped = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    for verb, names in (("lack", missing), ("have a foreign", foreign), ("have another shape of", reshaped)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise DataError(f"The weights {path} are not those of {what}: they {verb} '{names[0]}'{more}.")
    check_kind(weights, own, f"The weights {path}")
    network.load_state_dict({**own, **weights}, strict=True)


def _flat(nested: Mapping[str, object]) -> dict[str, object]:
    """Flattens weights that are nested by module, as the ESD authors' are: {"mid_block.attn": {"weight": ...}}."""
    flat: dict[str, object] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": tensor for inner, tensor in value.items()}
        else:
            flat[str(name)] = value
    return flat


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
