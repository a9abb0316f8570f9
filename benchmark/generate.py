"""Pictures of a suite, in fixed shards of 32 prompts that are made whole: the unit of resuming and of sharing out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from benchmark.models import Model
from benchmark.store import key_of
from benchmark.workbench import Workbench

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.suites import Suite
    from prompts.lists import Prompt

SHARD = 32
RECIPE = 1
"""Goes up when sampling or decoding changes pictures."""


def shards(prompts: Sequence[Prompt]) -> list[list[Prompt]]:
    """The prompts in order, 32 at a time."""
    return [list(prompts[k : k + SHARD]) for k in range(0, len(prompts), SHARD)]


def shard_identity(bench: Workbench, model: Model, shard: Sequence[Prompt]) -> dict[str, Any]:
    """What makes a shard's pictures: model, sampler, texts and seeds; not the batch or the order of shards."""
    return {
        "model": key_of("model", model.identity),
        "recipe": RECIPE,
        "testbed": bench.testbed.identity(),
        "sampler": bench.testbed.sampler.model_dump(mode="json"),
        "prompts": [[prompt.text, prompt.seed] for prompt in shard],
    }


def kind_of(suite: Suite) -> str:
    """What the store calls a suite's pictures; those of explicit suites are kept from others' eyes."""
    return "explicit-images" if getattr(suite, "explicit", False) else "images"


def _missing(bench: Workbench, model: Model, dealt: Sequence[Sequence[Prompt]], kind: str) -> list[Sequence[Prompt]]:
    return [shard for shard in dealt if bench.store.find(kind, shard_identity(bench, model, shard)) is None]


def deal(bench: Workbench, model: Model, prompts: Sequence[Prompt], suite: Suite) -> None:
    """Make the shards that nobody has looked at yet; called by all processes, which deal them out among themselves."""
    from accelerate import PartialState

    state = PartialState()
    state.wait_for_everyone()  # all decide before one of them changes what there is
    known = bench.store.find("features", features_identity(bench, model, prompts, suite)) is not None
    todo = [] if known else _missing(bench, model, shards(prompts), kind_of(suite))
    state.wait_for_everyone()
    if todo:
        unet = model.load()
        _sample(bench, model, unet, todo[state.process_index :: state.num_processes], suite)
    state.wait_for_everyone()


def _sample(bench: Workbench, model: Model, unet: Any, todo: Sequence[Sequence[Prompt]], suite: Suite) -> None:
    from benchmark.side_by_side import side_by_side

    null = bench.testbed.encode([""])[0]
    unet.eval()

    def make(shard: Sequence[Prompt]) -> int:
        _make(bench, model, unet, null, shard, kind_of(suite))
        return len(shard)

    with bench.progress.stage(f"sample {model.label}: {suite.name}", sum(map(len, todo)), "images") as stage:
        for made in side_by_side(make, todo, bench.device):
            stage.advance(made)


_ENCODING = Lock()
"""Tokenizers are not made for several threads."""


def _make(bench: Workbench, model: Model, unet: Any, null: Tensor, shard: Sequence[Prompt], kind: str) -> None:
    from PIL import Image

    from methods.sampling import initial_noise, sample

    testbed = bench.testbed
    sampler = testbed.sampler
    shape = (sampler.latent_channels, sampler.latent_size, sampler.latent_size)
    noise = initial_noise([prompt.seed for prompt in shard], shape)
    with _ENCODING:
        text = testbed.encode([prompt.text for prompt in shard])
    pictures = testbed.decode(sample(unet, testbed.scheduler, text, null, noise, sampler))
    with bench.store.make(kind, shard_identity(bench, model, shard)) as folder:
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


def pictures(bench: Workbench, model: Model, prompts: Sequence[Prompt], suite: Suite) -> Tensor:
    """All pictures uint8 (N, 3, H, W) in the order of the prompts; a missing or damaged shard is made (again)."""
    import torch

    dealt = shards(prompts)
    if todo := _missing(bench, model, dealt, kind_of(suite)):
        _sample(bench, model, model.load(), todo, suite)
    found = [bench.store.find(kind_of(suite), shard_identity(bench, model, shard)) for shard in dealt]
    return torch.cat([read_shard(artefact.folder) for artefact in found if artefact is not None])


def _networks(bench: Workbench, suite: Suite) -> dict[str, str]:
    """The suite's networks, as far as the testbed has them: job -> back end."""
    return {job: name for job, name in bench.testbed.networks.items() if job in suite.encoders}


def features_identity(bench: Workbench, model: Model, prompts: Sequence[Prompt], suite: Suite) -> dict[str, Any]:
    """What makes a suite's features: its pictures and the networks that look at them."""
    return {
        "images": [key_of(kind_of(suite), shard_identity(bench, model, shard)) for shard in shards(prompts)],
        "encoders": _networks(bench, suite),
    }


def features(bench: Workbench, model: Model, prompts: Sequence[Prompt], suite: Suite) -> dict[str, Tensor]:
    """What each network sees in the suite's pictures, (N, d) each, and under "text" what CLIP reads in its prompts.

    Kept, so that no picture is looked at twice, and a table is made again without loading a network.
    """
    from safetensors.torch import load_file, save_file

    identity = features_identity(bench, model, prompts, suite)
    artefact = bench.store.find("features", identity)
    if artefact is not None:
        bench.progress.reuse(f"{model.label}: {suite.name}, {len(prompts)} pictures")
    else:
        images = pictures(bench, model, prompts, suite)
        networks = _networks(bench, suite)
        with bench.progress.stage(f"look at {model.label}: {suite.name}", len(networks), "networks") as stage:
            seen = {}
            for job in networks:
                seen[job] = bench.testbed.encoder(job)(images)
                stage.advance()
            seen["text"] = bench.testbed.clip.text([prompt.text for prompt in prompts])
        with bench.store.make("features", identity) as folder:
            save_file(seen, folder / "features.safetensors")
        artefact = bench.store.find("features", identity)
        assert artefact is not None, "features that were just made are there"
    return load_file(artefact.path("features.safetensors"))
