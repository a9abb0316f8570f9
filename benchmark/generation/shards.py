"""Prompts in fixed shards of 32, whose pictures are made whole: the unit of resuming and of sharing out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from benchmark.api.model import Model
from benchmark.api.testbed import SHARD_SIZE, Workbench
from benchmark.errors import DataError
from benchmark.json_types import Identity
from benchmark.store import disk
from benchmark.store.artefacts import key_of
from benchmark.store.listing import visible
from benchmark.suites.prompts import Published
from prompts.lists import Prompt

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.api.suite import Suite


RECIPE = 1
"""Goes up when sampling or decoding changes pictures."""
ONE_COLOUR = "one colour"
"""Under which an artefact of pictures and a record's `counted` say how many pictures are of one colour."""
SPAN = 3
"""Levels between which a channel of one colour may lie, for rounding."""
Shard: TypeAlias = Sequence[Prompt]


def shards(prompts: Sequence[Prompt]) -> list[Shard]:
    """The prompts in order, 32 at a time."""
    return [list(prompts[k : k + SHARD_SIZE]) for k in range(0, len(prompts), SHARD_SIZE)]


def shard_identity(bench: Workbench, model: Model, shard: Shard) -> Identity:
    """What makes a shard's pictures: model, sampler, precision, texts, seeds; not the batch or order of shards."""
    own_settings = [list(prompt.own) if isinstance(prompt, Published) else None for prompt in shard]
    return {
        "model": key_of("model", model.identity),
        "recipe": RECIPE,
        "testbed": bench.testbed.identity(),
        "sampler": bench.testbed.sampler.model_dump(mode="json"),
        "prompts": [[prompt.text, prompt.seed] for prompt in shard],
        **({"guidance, width, height": own_settings} if any(own_settings) else {}),
        **bench.stated,
    }


def kind_of(suite: Suite) -> str:
    """What the store calls a suite's pictures; those of explicit suites are kept from others' eyes."""
    return "explicit-images" if suite.explicit else "images"


def picture_bytes(bench: Workbench, prompt: Prompt) -> float:
    """About how much disk the picture takes that a prompt asks for."""
    side = bench.testbed.sampler.latent_size * bench.testbed.pixels
    if isinstance(prompt, Published):
        return disk.pictures(1, prompt.height or side, prompt.width or side)
    return disk.pictures(1, side, side)


def of_one_colour(picture: Tensor) -> bool:
    """Whether a picture uint8 (3, H, W) shows nothing: no channel spans more than `SPAN` of 255 levels."""
    flat = picture.flatten(1)
    return bool(((flat.amax(1) - flat.amin(1)) <= SPAN).all())


def one_colour(bench: Workbench, model: Model, prompts: Sequence[Prompt], kind: str) -> int:
    """How many of the model's pictures that are there are of one colour.

    It stands beside the shards; of those made before it did, the pictures are looked at.
    """
    count = 0
    for shard in shards(prompts):
        artefact = bench.store.find(kind, shard_identity(bench, model, shard))
        if artefact is not None and ONE_COLOUR in artefact.made:
            count += int(artefact.made[ONE_COLOUR])
        elif artefact is not None:
            count += sum(map(of_one_colour, read_shard(artefact.folder, len(shard))))
    return count


def read_shard(folder: Path, count: int) -> list[Tensor]:
    """The `count` pictures uint8 (3, H, W) of a shard's folder. DataError for another number of them."""
    import numpy as np
    import torch
    from PIL import Image

    arrays = [np.array(Image.open(path).convert("RGB")) for path in visible(folder, "*.png")]
    if len(arrays) != count:
        raise DataError(f"{folder} holds {len(arrays)} pictures of {count}: remove it, and it is made again.")
    return [torch.from_numpy(array).permute(2, 0, 1).contiguous() for array in arrays]
