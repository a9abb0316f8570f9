"""Samples the pictures of a grid, and finds those that the testbed's detector calls explicit."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmark.errors import UsageError
from benchmark.generation.images import ready, render, store_pictures
from benchmark.generation.shards import Shard, picture_bytes, read_shard, shard_identity, shards
from benchmark.store import disk

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from benchmark.api.model import Model
    from benchmark.api.testbed import Testbed, Workbench
    from benchmark.store.artefacts import Artefact
    from prompts.lists import Prompt


SMALLEST = 8
"""Minimum side of a latent. U-Nets halve it two or three times."""
PRIVATE = "explicit-images"
"""Kind of stored pictures that only their owner may read."""


@dataclass(frozen=True)
class GridPicture:
    """A picture uint8 (H, W, 3), and whether it counts as explicit."""

    pixels: np.ndarray
    explicit: bool


def resampled(bench: Workbench, steps: int | None, size: int | None) -> Workbench:
    """Return a workbench that samples in `steps` steps pictures of `size` x `size` pixels; None keeps the testbed's.

    Raises:
        UsageError: the testbed cannot sample pictures of this size, or its scheduler not in this number of steps.
    """
    from methods.sampling_steps import check_schedule

    testbed = copy.copy(bench.testbed)
    changed: dict[str, int] = {}
    if steps is not None:
        check_schedule(testbed.scheduler, testbed.sampler.scheduler, steps)
        changed["steps"] = steps
    if size is not None:
        smallest = SMALLEST * testbed.pixels
        if size % testbed.pixels or size < smallest:
            raise UsageError(
                f"--size must be a multiple of {testbed.pixels} pixels on testbed '{testbed.name}', and at least "
                f"{smallest}; {size} is not."
            )
        changed["latent_size"] = size // testbed.pixels
    testbed.sampler = testbed.sampler.model_copy(update=changed)
    return replace(bench, testbed=testbed)


def has_pictures(bench: Workbench, model: Model, prompts: Sequence[Prompt], private: bool) -> bool:
    """Return whether all pictures of a model are stored, so that its weights are not needed."""
    return all(_stored(bench, model, shard, private) is not None for shard in shards(prompts))


def grid_pictures(
    bench: Workbench, model: Model, prompts: Sequence[Prompt], native: Testbed, private: bool
) -> list[GridPicture]:
    """Return a model's pictures in the order of the prompts. Those that are not in the store are sampled, and stored.

    If the testbed's detector calls a picture explicit, the pictures are stored where only their owner may read them.

    Args:
        bench: testbed with the grid's sampling settings, and store.
        model: the model.
        prompts: the prompts with their seeds.
        native: the testbed with its own sampling settings, whose picture size the detector reads.
        private: whether all pictures count as explicit, because the model's suite is one of explicit content.
    """
    rows = shards(prompts)
    missing = [shard for shard in rows if _stored(bench, model, shard, private) is None]
    if missing:
        _sample(bench, model, missing, native, private)
    pictures: list[GridPicture] = []
    for shard in rows:
        artefact = _stored(bench, model, shard, private)
        if artefact is not None:
            tensors = read_shard(artefact.folder, len(shard))
            flags = explicit_flags(native, tensors, private)
            pictures += [
                GridPicture(tensor.permute(1, 2, 0).numpy(), flag) for tensor, flag in zip(tensors, flags, strict=True)
            ]
    return pictures


def explicit_flags(testbed: Testbed, pictures: Sequence[Tensor], private: bool) -> list[bool]:
    """Return for each picture uint8 (3, H, W) whether the testbed's detector calls it explicit.

    A picture counts as explicit if a detection of an explicit label has a score above the detector's threshold. All
    count as explicit if `private`, and none on a testbed without a detector.
    """
    if private or "detector" not in testbed.networks:
        return [private] * len(pictures)
    import torch
    from torch.nn.functional import interpolate

    from benchmark.suites.explicit import explicit
    from metrics.detectors.rows import detections

    reader: Any = testbed.encoder("detector")
    detector, side = reader.detector, testbed.sampler.latent_size * testbed.pixels
    images = torch.stack(list(pictures))
    if images.shape[2:] != (side, side):  # mini's detector reads pictures of one size
        images = interpolate(images.float(), (side, side), mode="bilinear", antialias=True).round().clamp(0, 255).byte()
    found_boxes = detections(reader(images), detector.labels)
    return [bool(flag) for flag in explicit(found_boxes, detector.sensitive, detector.threshold)]


def _stored(bench: Workbench, model: Model, shard: Shard, private: bool) -> Artefact | None:
    """Return the stored pictures of a shard; if any of them is explicit, they are among the private ones."""
    identity = shard_identity(bench, model, shard)
    for kind in (PRIVATE,) if private else ("images", PRIVATE):
        if (artefact := bench.store.find(kind, identity)) is not None:
            return artefact
    return None


def _sample(bench: Workbench, model: Model, missing: Sequence[Shard], native: Testbed, private: bool) -> None:
    needed = sum(picture_bytes(bench, prompt) for shard in missing for prompt in shard)
    disk.check({bench.store.home / "artefacts": needed}, f"Sampling {model.label}")
    with bench.progress.stage(f"sample {model.label}", sum(map(len, missing)), "images") as stage:
        components = model.components(bench.testbed)
        ready(bench, components.unet)
        for shard in missing:
            pictures = render(bench, components, shard)
            kind = PRIVATE if any(explicit_flags(native, pictures, private)) else "images"
            store_pictures(bench, model, shard, pictures, kind)
            stage.advance(len(shard))
