"""Published weights from a file: safetensors, or a .pth, .pt or .bin where its authors published nothing else."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from benchmark.errors import DataError

WRAPPERS = ("model_state_dict", "state_dict", "model")
"""Names under which training scripts put the weights of a checkpoint."""
COUNTERS = "num_batches_tracked"
"""Batch norm's counters are missing in files of before 2018, and evaluation never reads them."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Name -> tensor, on the CPU; a prefix `module.` that data-parallel training leaves is taken off.

    Raises DataError for a file that cannot be read, that holds no tensors, or that would have to be unpickled.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            found: object = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)  # tensors and plain containers, no code
    except (OSError, SafetensorError, ValueError, EOFError, RuntimeError) as error:
        raise DataError(f"The weights {path} cannot be read ({_first_line(error)}): download them again.") from error
    except Exception as error:  # pickle's own errors, whose module nobody here imports
        raise DataError(
            f"The weights {path} hold more than tensors, and nothing is unpickled here: save them as safetensors."
        ) from error
    for name in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    named = _flat(found) if isinstance(found, Mapping) else {}
    weights = {name.removeprefix("module."): value for name, value in named.items() if isinstance(value, Tensor)}
    if not weights or len(weights) < len(named):
        raise DataError(f"The file {path} holds no table of weights by name: it is not a checkpoint.")
    return weights


def fill(network: nn.Module, weights: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Put `weights` into `network`, every name and shape matched, but for batch norm's counters; else DataError."""
    own = network.state_dict()
    missing = [name for name in own if name not in weights and not name.endswith(COUNTERS)]
    foreign = [name for name in weights if name not in own]
    other = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    for says, names in (("lack", missing), ("have a foreign", foreign), ("have another shape of", other)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise DataError(f"The weights {path} are not those of {what}: they {says} '{names[0]}'{more}.")
    network.load_state_dict({**own, **weights}, strict=True)


def _flat(found: Mapping) -> dict[str, object]:
    """The ESD authors nest weights one level deeper, by module: {"mid_block.attn": {"weight": ...}}."""
    flat: dict[str, object] = {}
    for name, value in found.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": tensor for inner, tensor in value.items()}
        else:
            flat[str(name)] = value
    return flat


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
