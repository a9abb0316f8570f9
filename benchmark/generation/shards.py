"""Splits prompts into fixed shards of 32. Pictures are sampled, stored, resumed and distributed by shard."""

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
"""Version of the sampling and decoding procedure, increased when a change of the code changes pictures."""
ONE_COLOUR = "one colour"
"""Key in a stored shard's metadata and in a record's `counted` for the number of pictures of a single colour."""
SPAN = 3
"""Maximum range of a channel, in levels of 255, of a picture that counts as a single colour; allows for rounding."""
Shard: TypeAlias = Sequence[Prompt]


def shards(prompts: Sequence[Prompt]) -> list[Shard]:
    """Split prompts into shards of 32, in order; the last may be shorter."""
    return [list(prompts[k : k + SHARD_SIZE]) for k in range(0, len(prompts), SHARD_SIZE)]


def shard_identity(bench: Workbench, model: Model, shard: Shard) -> Identity:
    """Return the identity of a shard's pictures in the store: model, sampler, precision, texts and seeds.

    Batch size and order of the shards are not part of it, because they do not change the pictures.
    """
    own_settings = [list(prompt.own) if isinstance(prompt, Published) else None for prompt in shard]
    return {
        "model": key_of("model", model.identity),
        "recipe": RECIPE,
        "testbed": bench.testbed.identity(),
        "sampler": bench.testbed.sampler.model_dump(mode="json"),
        "prompts": [[prompt.text, prompt.seed] for prompt in shard],
        **({"guidance, width, height": own_settings} if any(own_settings) else {}),
        **bench.precision_entry,
    }


def kind_of(suite: Suite) -> str:
    """Return the kind of a suite's pictures in the store. Those of explicit suites have a separate, private kind."""
    return "explicit-images" if suite.explicit else "images"


def picture_bytes(bench: Workbench, prompt: Prompt) -> float:
    """Estimate the disk space in bytes of a prompt's picture."""
    side = bench.testbed.sampler.latent_size * bench.testbed.pixels
    if isinstance(prompt, Published):
        return disk.pictures(1, prompt.height or side, prompt.width or side)
    return disk.pictures(1, side, side)


def is_single_colour(picture: Tensor) -> bool:
    """Return whether a picture uint8 (3, H, W) is of a single colour: no channel has a range above `SPAN` levels."""
    flat = picture.flatten(1)
    return bool(((flat.amax(1) - flat.amin(1)) <= SPAN).all())


def count_single_colour(bench: Workbench, model: Model, prompts: Sequence[Prompt], kind: str) -> int:
    """Count the stored pictures of a model that are of a single colour.

    The count is stored with each shard. For shards from versions that did not store it, the pictures are read.
    """
    count = 0
    for shard in shards(prompts):
        artefact = bench.store.find(kind, shard_identity(bench, model, shard))
        if artefact is not None and ONE_COLOUR in artefact.made:
            count += int(artefact.made[ONE_COLOUR])
        elif artefact is not None:
            count += sum(map(is_single_colour, read_shard(artefact.folder, len(shard))))
    return count


def read_shard(folder: Path, count: int) -> list[Tensor]:
    """Read the pictures uint8 (3, H, W) of a shard's folder.

    Raises:
        DataError: if the folder does not hold exactly `count` pictures.
    """
    import numpy as np
    import torch
    from PIL import Image

    arrays = []
    for path in visible(folder, "*.png"):
        try:
            with Image.open(path, formats=("PNG",)) as opened:
                arrays.append(np.array(opened.convert("RGB")))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} is not a picture of a model ({error}): remove {folder}, and run again.") from error
    if len(arrays) != count:
        raise DataError(f"{folder} holds {len(arrays)} of {count} pictures: remove it, and they are sampled again.")
    return [torch.from_numpy(array).permute(2, 0, 1).contiguous() for array in arrays]
