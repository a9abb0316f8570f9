"""Published weights from files: safetensors, or a .pth, .pt, .bin or .ckpt where authors published nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
_STORED = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<a>[\w-]+?))?(?:-(?P<shard>\d{5})-of-(?P<shards>\d{5}))?(?:\.(?P<b>[\w-]+))?"
    r"\.safetensors"
)
"""Weights of a network in the layout of diffusers and transformers, with their variant ("fp16") before or after."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Name -> tensor, on the CPU; what wrappers add to names (`module.`, `_orig_mod.`) is removed.

    Raises DataError for a file that cannot be read, that has no tensors, that would have to be unpickled, or in which
    a value is not finite.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

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
            content = content[name]
    named = _flat(content) if isinstance(content, Mapping) else {}
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    if not tensors or len(tensors) < len(named):
        raise DataError(f"The file {path} holds no table of weights by name: it is not a checkpoint.")
    weights = {unwrapped(name): tensor for name, tensor in tensors.items()}
    if len(weights) < len(tensors):
        raise DataError(f"The weights {path} hold some tensors twice, wrapped and unwrapped: save one model alone.")
    check_finite(weights, f"The weights {path}")
    return weights


def unwrapped(name: str) -> str:
    """A weight's name without what torch.compile, FSDP, checkpointing and data-parallel training put into it."""
    parts = [part for part in name.split(".") if part not in INSIDE]
    while len(parts) > 1 and parts[0] == "module":
        parts = parts[1:]
    return ".".join(parts)


def check_finite(weights: Mapping[str, Tensor], what: str) -> None:
    """DataError, naming the first tensor with a NaN or an infinity; `what` begins the sentence ("The weights x.pt")."""
    for name, tensor in weights.items():
        if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.is_meta:
            continue
        wide = tensor.float() if tensor.itemsize == 1 else tensor  # 8-bit types support few operations
        if broken := int((~wide.isfinite()).sum()):
            raise DataError(
                f"{what} are broken: {broken} of {tensor.numel()} values of '{name}' are NaN or infinite; download "
                "them again, or take a checkpoint from before the training diverged."
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
    usual one, and for shards that are not all there.
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
    if whole := [match for match in files if not match["shard"]]:
        return variant or None, [whole[0].string]
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
