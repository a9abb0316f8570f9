"""Reads files of weights and configs that others wrote: no code in them is executed, and they cannot fill the memory.

This is the only module that calls `torch.load`; `tests/test_security_sources.py` checks this.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

CODE_FIELDS = (
    "auto_map", "custom_pipelines", "quantization_config", "attn_implementation", "_attn_implementation",
    "_attn_implementation_internal", "experts_implementation",
)  # fmt: skip
"""Fields of a config that make Hugging Face's libraries load code, or other code than that of the network's class."""
PLAIN_ATTENTION = (None, "eager", "sdpa")
"""Values of the fields `*attn_implementation` that name code of transformers itself."""
LARGEST, MOST_LAYERS = 10_000_000, 1000
"""Largest whole number in a network's config, and in a field for a number of layers. Larger networks do not exist, and
building such a network would fill the memory."""
LIBRARIES = ("diffusers", "transformers", "stable_diffusion", None)
"""Libraries that a part of a pipeline may be from. "stable_diffusion" is the module of diffusers' safety checker."""


def load_tensors(path: Path, *, lists_of_parameters: bool = False) -> object:
    """Return the content of a .pt, .pth, .bin or .ckpt file on the CPU: tensors in dicts and lists.

    Args:
        path: the file.
        lists_of_parameters: whether `torch.nn.ParameterDict` is allowed too, in which A1111 saves embeddings.

    Raises:
        DataError: if the file would fill more memory than its own size, or a tensor is not a plain one.
        Exception: errors of torch and pickle, if the file is damaged or contains other objects.
    """
    import torch

    _check_archive(path)
    allowed = torch.serialization.safe_globals([torch.nn.ParameterDict]) if lists_of_parameters else nullcontext()
    with allowed:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    for tensor in _tensors(content):
        _check_plain(tensor, path)
    return content


def _check_archive(path: Path) -> None:
    """Raise DataError if the parts of a zip archive are larger than the archive. torch.save never compresses them."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > (size := path.stat().st_size):
        raise DataError(
            f"The weights {path} are a compressed archive that would grow from {size:,} to {unpacked:,} bytes: save "
            "them again with torch.save, or as safetensors."
        )


def _tensors(content: object) -> Iterator[Tensor]:
    """Yield all tensors in nested dicts and lists, which may contain themselves."""
    import torch

    waiting, visited = [content], set[int]()
    while waiting:
        value = waiting.pop()
        if id(value) in visited:
            continue
        visited.add(id(value))
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, Mapping | torch.nn.ParameterDict):
            waiting += list(value.values())
        elif isinstance(value, list | tuple | set):
            waiting += list(value)


def _check_plain(tensor: Tensor, path: Path) -> None:
    """Raise DataError unless each value of a tensor is stored in the file, as a plain number."""
    import torch

    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        kind = "quantised" if tensor.is_quantized else "sparse" if tensor.device.type == "cpu" else "empty (meta)"
        raise DataError(f"The weights {path} contain {kind} tensors: save them as plain tensors, with their values.")
    if tensor.numel() * tensor.element_size() > (stored := tensor.untyped_storage().nbytes()):
        raise DataError(
            f"The weights {path} contain a tensor of shape {tuple(tensor.shape)} with only {stored:,} bytes of values: "
            "save it with .contiguous()."
        )


def check_part(folder: Path) -> None:
    """Check the files of a network's folder that could lead its library to other files or code.

    Raises:
        DataError: an index of shards names files that are not in the folder, or a config names code.
    """
    for index in sorted(folder.glob("*.index.json")):
        shards = _read_object(index).get("weight_map")
        names = set(shards.values()) if isinstance(shards, dict) and _are_texts(shards) else {""}
        outside = sorted(name for name in names if Path(name).name != name or not (folder / name).is_file())
        if outside:
            raise DataError(
                f"{index} names the file {outside[0]!r}, which is not in the same folder: download the weights again."
            )
    config = folder / "config.json"
    if config.is_file():
        check_config(_read_object(config), config)


def check_config(config: Mapping[str, Any], place: Path) -> None:
    """Raise DataError if a config names code, a quantisation, which is loaded with other code, or an absurd size."""
    for field in CODE_FIELDS:
        value = config.get(field)
        if value and not (field.endswith("attn_implementation") and value in PLAIN_ATTENTION):
            raise DataError(
                f"{place} has the field {field}, which would load other code than that of diffusers and transformers: "
                "remove the field, or save the model again without it."
            )
    for field, value in config.items():
        largest = MOST_LAYERS if "layers" in field else LARGEST
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(number, int) and abs(number) > largest for number in numbers):
            raise DataError(
                f"{place} has the field {field} = {str(value)[:40]}, but {largest:,} is the largest value that a "
                "network can have: download the file again."
            )


def check_pipeline(folder: Path) -> None:
    """Raise DataError if `model_index.json` names a class that is not one of diffusers or transformers."""
    place = folder / "model_index.json"
    if not place.is_file():
        return
    for name, value in _read_object(place).items():
        if name == "_class_name" or not name.startswith("_"):
            is_class = isinstance(value, str) if name == "_class_name" else not isinstance(value, list) or (
                len(value) == 2 and value[0] in LIBRARIES
            )  # fmt: skip
            if not is_class:
                raise DataError(
                    f"{place} names code for '{name}' that is not part of diffusers or transformers: save the pipeline "
                    "again with their classes."
                )


def _are_texts(values: Mapping[str, object]) -> bool:
    return all(isinstance(value, str) for value in values.values())


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}): download it again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a JSON object: download it again.")
    return content
