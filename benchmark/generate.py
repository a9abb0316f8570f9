"""Pictures of a suite, in fixed shards of 32 prompts that are made whole: the unit of resuming and of sharing out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.models import Model
from benchmark.store import key_of
from benchmark.workbench import Workbench

if TYPE_CHECKING:
    from torch import Tensor

    from prompts.lists import Prompt

SHARD = 32


def shards(prompts: Sequence[Prompt]) -> list[list[Prompt]]:
    """The prompts in order, 32 at a time."""
    return [list(prompts[k : k + SHARD]) for k in range(0, len(prompts), SHARD)]


def shard_identity(bench: Workbench, model: Model, shard: Sequence[Prompt]) -> dict[str, Any]:
    """What makes a shard's pictures: model, sampler, texts and seeds; not the batch or the order of shards."""
    return {
        "model": key_of("model", model.identity),
        "testbed": bench.testbed.identity(),
        "sampler": bench.testbed.sampler.model_dump(mode="json"),
        "prompts": [[prompt.text, prompt.seed] for prompt in shard],
    }


def generate(bench: Workbench, model: Model, prompts: Sequence[Prompt], what: str) -> None:
    """Make the shards that are missing; several processes deal them out among themselves."""
    from accelerate import PartialState

    todo = [s for s in shards(prompts) if not bench.store.has("images", shard_identity(bench, model, s))]
    state = PartialState()
    if todo:
        done = len(prompts) - sum(map(len, todo))
        unet = model.load()
        null = bench.testbed.encode([""])[0]
        mine = todo[state.process_index :: state.num_processes]
        with bench.progress.stage(f"sample {model.label}: {what}", len(prompts), "images", done) as stage:
            for shard in mine:
                _make(bench, model, unet, null, shard)
                stage.advance(len(shard))
    state.wait_for_everyone()


def _make(bench: Workbench, model: Model, unet: Any, null: Tensor, shard: Sequence[Prompt]) -> None:
    from PIL import Image

    from methods.sampling import initial_noise, sample

    testbed = bench.testbed
    sampler = testbed.sampler
    shape = (sampler.latent_channels, sampler.latent_size, sampler.latent_size)
    noise = initial_noise([prompt.seed for prompt in shard], shape)
    text = testbed.encode([prompt.text for prompt in shard])
    pictures = testbed.decode(sample(unet, testbed.scheduler, text, null, noise, sampler))
    with bench.store.make("images", shard_identity(bench, model, shard)) as folder:
        for k, picture in enumerate(pictures):
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{k:02d}.png")
        (folder / "prompts.json").write_text(json.dumps([{"id": p.id, "seed": p.seed, "part": p.part} for p in shard]))


def read_shard(folder: Path) -> Tensor:
    """Pictures uint8 (n, 3, H, W) of a shard's folder."""
    import numpy as np
    import torch
    from PIL import Image

    arrays = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def pictures(bench: Workbench, model: Model, prompts: Sequence[Prompt], what: str) -> Tensor:
    """All pictures uint8 (N, 3, H, W) in the order of the prompts; a missing or damaged shard is made (again)."""
    import torch

    generate(bench, model, prompts, what)
    found: list[Tensor] = []
    for shard in shards(prompts):
        artefact = bench.store.find("images", shard_identity(bench, model, shard))
        if artefact is None:
            generate(bench, model, shard, what)
            artefact = bench.store.find("images", shard_identity(bench, model, shard))
            assert artefact is not None, "a shard that was just made is there"
        found.append(read_shard(artefact.folder))
    return torch.cat(found)


def features(
    bench: Workbench, model: Model, prompts: Sequence[Prompt], encoders: Sequence[str], what: str
) -> dict[str, Tensor]:
    """What each encoder sees in the suite's pictures, (N, d) each; kept, so that no picture is looked at twice."""
    from safetensors.torch import load_file, save_file

    networks = {name: getattr(bench.testbed, name) for name in encoders if getattr(bench.testbed, name) is not None}
    identity = {
        "images": [key_of("images", shard_identity(bench, model, shard)) for shard in shards(prompts)],
        "encoders": {name: network.name for name, network in networks.items()},
    }
    artefact = bench.store.find("features", identity)
    if artefact is None:
        images = pictures(bench, model, prompts, what)
        with bench.progress.stage(f"look at {model.label}: {what}", len(networks), "networks") as stage:
            seen = {}
            for name, network in networks.items():
                seen[name] = network(images)
                stage.advance()
        with bench.store.make("features", identity) as folder:
            save_file(seen, folder / "features.safetensors")
        artefact = bench.store.find("features", identity)
        assert artefact is not None, "features that were just made are there"
    return load_file(artefact.path("features.safetensors"))
