"""Compares a checkpoint's pipeline with the testbed's, except for the U-Net.

Parts that are equal are not loaded from the checkpoint. Compared are:

    text_encoder, vae   fields of the config that change the output, and every weight
    tokenizer           vocabulary, merges, special tokens, normalisation and length
    scheduler           the noise schedule; the solver and its steps are always those of the testbed
    model_index.json    the pipeline's class, which may define its own sampling, and parts that the testbed lacks

Names of files and weights, shards and file formats do not matter, and a copy in half precision counts as equal. The
safety checker and the parts that process image prompts are ignored. `own_parts` loads the parts that differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import DataError
from benchmark.json_types import JsonObject, NetworkConfig
from benchmark.models.part_files import (
    CLIP,
    ELSE,
    STEPS,
    describe_differences,
    file_checksums,
    first_line,
    load_network,
    load_tokenizer,
    parameters,
    read_json,
    read_schedule,
)
from benchmark.store.listing import visible

if TYPE_CHECKING:
    from torch import Tensor

NETWORKS = ("text_encoder", "vae")
COMPARED = (*NETWORKS, "tokenizer", "scheduler")
PASSED_OVER = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts that take no part in generating an image from text."""
LORA = "pytorch_lora_weights"
"""Start of the names that diffusers gives to LoRA files."""
TEXT_TO_IMAGE = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
"""Pipeline classes that sample in the same way as the testbeds."""
TEXT_CLASS = "CLIPTextModel"
"""Class of text encoder whose first output are hidden states; that of CLIPTextModelWithProjection is one vector."""
TEXT_CLASS_DIFFERS = "its text encoder's class"
"""What `Difference.part` is called if the index names a different class."""
TEXT = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act",
    "max_position_embeddings", "layer_norm_eps",
)  # fmt: skip
"""Fields of a text encoder's config that change its hidden states."""
SAME_RESULT = ("sample_size", "force_upcast")
"""Fields of a VAE's config that do not change its output."""
INDEX = "model_index.json"
"""File of a pipeline that names its class and its parts."""


@dataclass(frozen=True)
class Difference:
    """A difference between a checkpoint's pipeline and the testbed's."""

    part: str
    """One of `COMPARED`, or the name that the pipeline's index gives to something that the testbed cannot use."""
    what: str
    """What differs, such as "scaling_factor 1, not 0.18215"."""
    usable: bool = True
    """Whether the checkpoint's part can be loaded and used instead of the testbed's."""

    def __str__(self) -> str:
        return f"{self.part} ({self.what})"


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
    return [*map(str, compare_index(theirs, ours)), *(str(d) for part in COMPARED for d in compare(part, theirs, ours))]


def compare(part: str, theirs: Path, ours: Path) -> list[Difference]:
    """Compare one part of two pipelines: return no difference or one.

    Args:
        part: one of `COMPARED`.
        theirs: folder of the checkpoint's pipeline.
        ours: folder of the testbed's pipeline.

    Raises:
        DataError: if the part cannot be read.
    """
    compare_folders = {
        "text_encoder": _compare_text_encoder,
        "vae": _compare_vae,
        "tokenizer": _compare_tokenizer,
        "scheduler": _compare_scheduler,
    }
    what, usable = "", True
    if not (theirs / part).is_dir():
        usable = False
        what = LOST if any(read_index(theirs).get(part) or ()) else ""
    elif not (ours / part).is_dir():
        what = NO_FOLDER
    elif file_checksums(theirs / part) != file_checksums(ours / part):  # else no further comparison is needed
        what = compare_folders[part](theirs / part, ours / part)
    return [Difference(part, what, usable)] if what else []


NO_FOLDER = "the testbed has no such folder"
LOST = "its folder does not exist"
"""What differs if a pipeline's index names a part that has no folder."""


def loras(folder: Path) -> list[str]:
    """Return the names of LoRA files in a folder, recognised by the names that diffusers gives them.

    The weights of a U-Net in the same folder do not include these LoRAs.
    """
    return [file.name for file in visible(folder, f"{LORA}*") if file.is_file()]


def prediction_type(pipeline: Path) -> str | None:
    """Return the prediction type of a pipeline's U-Net; None if the pipeline has no scheduler."""
    return str(read_schedule(pipeline)["prediction_type"]) if (pipeline / STEPS).is_file() else None


def read_index(pipeline: Path) -> JsonObject:
    """Read a pipeline's model_index.json; empty if it has none."""
    file = pipeline / INDEX
    return read_json(file) if file.is_file() else {}


def compare_index(theirs: Path, ours: Path) -> Iterator[Difference]:
    """Yield what the index of a pipeline has and the testbed cannot use: a pipeline class that samples differently, a
    class of text encoder with different outputs, and parts that the testbed lacks."""
    index, own_index = read_index(theirs), read_index(ours)
    kind = index.get("_class_name", TEXT_TO_IMAGE[0])
    if kind not in (*TEXT_TO_IMAGE, own_index.get("_class_name")):
        yield Difference("its pipeline's class", str(kind))
    for name, value in index.items():
        part = isinstance(value, list) and any(value) and not name.startswith("_")
        if part and name == "text_encoder" and value[-1] != TEXT_CLASS and value != own_index.get(name):
            yield Difference(TEXT_CLASS_DIFFERS, str(value[-1]))
        if part and name not in ("unet", *COMPARED, *PASSED_OVER) and not own_index.get(name):
            yield Difference(name, "the testbed has none")


def _compare_text_encoder(theirs: Path, ours: Path) -> str:
    from transformers import CLIPTextModel

    configs = [_text_config(folder) for folder in (theirs, ours)]
    return describe_differences(*configs) or _compare_weights(CLIPTextModel, theirs, ours)


def _text_config(folder: Path) -> NetworkConfig:
    from transformers import CLIPTextConfig

    config = read_json(folder / "config.json")
    kind = config.get("model_type", CLIP[0])
    if kind not in CLIP:
        return {"model_type": kind}
    try:
        full = CLIPTextConfig.from_pretrained(folder)
    except Exception as error:  # transformers raises a different error class for each field
        raise DataError(f"{folder / 'config.json'} cannot be read ({first_line(error)}): {ELSE}.") from error
    return {"model_type": CLIP[0], **{name: getattr(full, name) for name in TEXT}}


def _compare_vae(theirs: Path, ours: Path) -> str:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    defaults = parameters(AutoencoderKL)
    configs = []
    for folder in (theirs, ours):
        config = read_json(folder / "config.json")
        fields = {name: value for name, value in {**defaults, **config}.items() if name in defaults}
        kind = {"_class_name": config.get("_class_name", AutoencoderKL.__name__)}
        configs.append(kind | {name: value for name, value in fields.items() if name not in SAME_RESULT})
    return describe_differences(*configs) or _compare_weights(AutoencoderKL, theirs, ours)


def _compare_tokenizer(theirs: Path, ours: Path) -> str:
    read = []
    for folder in (theirs, ours):
        words = load_tokenizer(folder)
        form = json.loads(words.backend_tokenizer.to_str())
        form |= {"length": words.model_max_length, "padding": words.pad_token_id, "truncation": None, "decoder": None}
        read.append(form)
    names = {"model": "vocabulary", "added_tokens": "added tokens", "padding": "padding token", "length": "length"}
    odd = [names.get(name, name) for name in read[1] if read[0].get(name) != read[1][name]]
    return f"different {', '.join(odd)}" if odd else ""


def _compare_scheduler(theirs: Path, ours: Path) -> str:
    return describe_differences(read_schedule(theirs.parent), read_schedule(ours.parent))


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
    return dict(load_network(network, folder).state_dict())


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
