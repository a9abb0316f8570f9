"""Samples the pictures of a suite in shards, which are distributed among processes and runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from threading import Lock
from time import sleep
from typing import TYPE_CHECKING, Any

from benchmark.api.model import Components, Model, PictureSource
from benchmark.api.testbed import Workbench
from benchmark.errors import SamplingError
from benchmark.generation import features
from benchmark.generation.shards import (
    ONE_COLOUR,
    Shard,
    is_single_colour,
    kind_of,
    picture_bytes,
    read_shard,
    shard_identity,
    shards,
)
from benchmark.store import disk
from benchmark.store.claims import POLL, Holder, take
from benchmark.suites.prompts import Published

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.api.suite import Suite
    from prompts.lists import Prompt


def sample_missing(bench: Workbench, model: Model, prompts: Sequence[Prompt], suite: Suite) -> None:
    """Sample the missing shards of a suite and compute their features.

    All processes of a distributed run must call this; each samples a part of the shards.
    """
    from accelerate import PartialState

    from benchmark.parallel import agreed

    state, all_shards = PartialState(), shards(prompts)
    has_features = bench.store.find("features", features.features_identity(bench, model, prompts, suite)) is not None
    missing = [] if has_features else _missing(bench, model, all_shards, suite)
    missing_flags = agreed([shard in missing for shard in all_shards])
    todo = [shard for shard, is_missing in zip(all_shards, missing_flags, strict=True) if is_missing]
    if todo:
        with features.beside(bench, model, suite) as compute_features:
            _sample(bench, model, todo[state.process_index :: state.num_processes], suite, compute_features)
    with bench.progress.doing("wait for the other processes"):
        state.wait_for_everyone()


def each_picture(bench: Workbench, model: Model, prompts: Sequence[Prompt], suite: Suite) -> list[Tensor]:
    """Return all pictures as uint8 (3, H, W), which may differ in size. Missing or damaged shards are sampled again."""
    all_shards = shards(prompts)
    if todo := _missing(bench, model, all_shards, suite):
        _sample(bench, model, todo, suite)
    all_pictures: list[Tensor] = []
    for shard in all_shards:
        artefact = bench.store.find(kind_of(suite), shard_identity(bench, model, shard))
        if artefact is not None:
            all_pictures += read_shard(artefact.folder, len(shard))
    return all_pictures


def pictures(bench: Workbench, model: Model, prompts: Sequence[Prompt], suite: Suite) -> Tensor:
    """Return all pictures as one tensor uint8 (N, 3, H, W), in the order of the prompts; they must have one size."""
    import torch

    return torch.stack(each_picture(bench, model, prompts, suite))


def _missing(bench: Workbench, model: Model, all_shards: Sequence[Shard], suite: Suite) -> list[Shard]:
    kind = kind_of(suite)
    return [shard for shard in all_shards if bench.store.find(kind, shard_identity(bench, model, shard)) is None]


def _sample(
    bench: Workbench,
    model: Model,
    todo: Sequence[Shard],
    suite: Suite,
    compute_features: features.Look | None = None,
) -> None:
    """Sample these shards; pass each to `compute_features` as soon as it is stored."""
    from benchmark.parallel import side_by_side

    generate = _generator(bench, model)

    def make(shard: Shard) -> Holder | None:
        """Sample the shard, or return the process of another run that is sampling it."""
        identity, kind = shard_identity(bench, model, shard), kind_of(suite)
        claim = take(bench.store, kind, identity, title, bench.progress)
        if isinstance(claim, Holder):
            return claim
        with claim:
            if bench.store.find(kind, identity) is None:  # another run may have stored it in the meantime
                _make(bench, model, generate, shard, kind)
        return None

    one_by_one = isinstance(model, PictureSource)
    title, has_warned = f"sample {model.label}: {suite.name}", False
    needed = sum(picture_bytes(bench, prompt) for shard in todo for prompt in shard)
    disk.check({bench.store.home / "artefacts": needed}, f"Sampling {model.label}: {suite.name}")
    with bench.progress.stage(title, sum(map(len, todo)), "images") as stage:
        while todo:
            claimed_elsewhere = []
            holders = map(make, todo) if one_by_one else side_by_side(make, todo, bench.device)
            for shard, holder in zip(todo, holders, strict=True):
                if holder:
                    claimed_elsewhere.append(shard)
                    if not has_warned:
                        bench.progress.warn(
                            f"{title}: another run ({holder}) is sampling some of the images; "
                            "this run samples the others"
                        )
                    has_warned = True
                    continue
                stage.advance(len(shard))
                if compute_features:
                    compute_features(shard)
            if len(claimed_elsewhere) == len(todo):
                sleep(POLL)
            todo = claimed_elsewhere


def ready(bench: Workbench, unet: Any) -> Any:
    """Convert a U-Net to the run's precision for sampling, in place, and compile it if the run asks for it."""
    from methods.training.precision import compiled, lowered

    lowered(unet, bench.device, bench.precision).eval()
    return compiled(unet) if bench.compiles else unet


_ENCODING = Lock()
"""Held while prompts are encoded, because tokenizers are not thread-safe."""


def _generator(bench: Workbench, model: Model) -> Callable[[Shard], list[Tensor]]:
    """Return the function that generates a model's pictures for the prompts of a shard."""
    if isinstance(model, PictureSource):
        source = model
        return lambda shard: source.pictures(bench, shard)
    components = model.components(bench.testbed)
    ready(bench, components.unet)
    _ = components.null  # encoded once, before threads start
    return lambda shard: render(bench, components, shard)


def render(bench: Workbench, components: Components, shard: Shard) -> list[Tensor]:
    """Sample the pictures of a shard without storing them.

    Prompts with equal settings are sampled in one batch; prompts of public lists may have their own settings.

    Args:
        bench: testbed, device and precision.
        components: networks to sample with; the U-Net is as `ready` returns it.
        shard: prompts with their seeds.

    Returns:
        One picture uint8 (3, H, W) per prompt, in order.
    """
    groups: dict[Any, list[int]] = {}
    for k, prompt in enumerate(shard):
        groups.setdefault(prompt.own if isinstance(prompt, Published) else None, []).append(k)
    picture_by_index: dict[int, Tensor] = {}
    for indices in groups.values():
        pictures = _sample_batch(bench, components, [shard[k] for k in indices])
        picture_by_index |= dict(zip(indices, pictures, strict=True))
    return [picture_by_index[k] for k in range(len(shard))]


def _sample_batch(bench: Workbench, components: Components, prompts: Sequence[Prompt]) -> Tensor:
    """Sample pictures uint8 (n, 3, H, W) for prompts with equal settings."""
    from methods.sampling import check_finite, initial_noise, sample
    from methods.training.precision import decoding

    testbed, first = bench.testbed, prompts[0]
    sampler = testbed.sampler
    shape = (sampler.latent_channels, sampler.latent_size, sampler.latent_size)
    if isinstance(first, Published):
        sampler, shape = first.sampled(sampler, testbed.pixels)
    noise = initial_noise([prompt.seed for prompt in prompts], shape)
    with _ENCODING:
        text = components.encode([prompt.text for prompt in prompts])

    def sample_rows(rows: slice) -> Tensor:
        null = components.null
        return sample(components.unet, components.scheduler, text[rows], null, noise[rows], sampler)

    latents = check_finite(bench.together(sample_rows, len(prompts)), "The model samples latents")
    with decoding(bench.device, bench.precision):
        return components.decode(latents)


def _make(bench: Workbench, model: Model, generate: Callable[[Shard], list[Tensor]], shard: Shard, kind: str) -> None:
    try:
        pictures = generate(shard)
    except SamplingError as error:
        raise SamplingError(f"{model.label}: {error}") from error
    store_pictures(bench, model, shard, pictures, kind)


def store_pictures(bench: Workbench, model: Model, shard: Shard, pictures: Sequence[Tensor], kind: str) -> None:
    """Store the pictures uint8 (3, H, W) of a shard's prompts, as artefacts of `kind`."""
    from PIL import Image

    counted = {ONE_COLOUR: sum(map(is_single_colour, pictures))}
    with bench.store.make(kind, shard_identity(bench, model, shard), counted) as folder:
        for k, picture in enumerate(pictures):
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{k:02d}.png")
        (folder / "prompts.json").write_text(json.dumps([{"id": p.id, "seed": p.seed, "part": p.part} for p in shard]))
