"""A stand-in for mini's weights: the same folder, networks and code, untrained and tiny, made in a second or two."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from benchmark.api.request import Outcome, RunRequest
from benchmark.console import Progress
from benchmark.generation import shards
from benchmark.pipeline import run, run_cache
from benchmark.testbeds.mini import data, prompts, testbed
from benchmark.testbeds.mini.build import contrastive, tokenizer, unet
from benchmark.testbeds.mini.build.corpus import draw_chunk
from benchmark.testbeds.mini.build.stages import halved, save_half
from benchmark.testbeds.mini.nets import Oracle, feature_network, style_encoder
from benchmark.testbeds.mini.testbed import Mini, write_manifest
from methods.pruning import macs
from methods.sampling import Sampler
from prompts.concepts import Concept
from prompts.lists import Prompt

# One thread: the same sums in the same order in every process, and no threads that spin for each other.
torch.set_num_threads(1)


def write_weights(out: Path) -> Path:
    """Untrained weights of mini's form in `out`."""
    torch.manual_seed(0)
    pipeline = out / "pipeline"
    words = tokenizer.build(draw_chunk("train", 0, size=64).captions, pipeline / "tokenizer")
    model = open_clip.CLIP(**contrastive.config(len(words), patch=16))
    halved(contrastive.text_tower(model, len(words))).half().save_pretrained(pipeline / "text_encoder")
    save_half(model, out / "clip" / "open_clip_model.safetensors")
    (out / "clip" / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": contrastive.config(len(words), patch=16)})
    )
    AutoencoderKL(
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
    ).half().save_pretrained(pipeline / "vae")
    small = {**unet.ARCHITECTURE, "block_out_channels": (16, 16, 32), "attention_head_dim": 2, "norm_num_groups": 4}
    unet.save_pipeline(halved(UNet2DConditionModel(**small)), pipeline)
    save_half(style_encoder(), out / "style.safetensors")
    save_half(feature_network(), out / "features.safetensors")
    save_half(Oracle(), out / "oracle.safetensors")
    write_manifest(out)
    return out


ASKED = {"artists": 24, "coco": 12, "i2p": 24}
"""Prompts a suite."""


class Standin(Mini):
    """mini on stand-in weights, with few prompts and steps."""

    default_flops = 8e9
    shipped = ()

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        super().__init__(weights, device)
        self.sampler = Sampler(steps=2, guidance=2.0)

    def prompts(self, suite: str, concept: Concept) -> Sequence[Prompt]:
        """A cross-section of all parts, in shards of 10 the last of which is not full."""
        return super().prompts(suite, concept)[: ASKED[suite]]


_counts: dict[tuple[int, int, int], int] = {}
_count = macs.forward_flops


def _counted(unet: UNet2DConditionModel, latent_size: int, text_length: int) -> int:
    """Counting takes a quarter of a second, and all these tests have two U-Nets only."""
    key = (sum(p.numel() for p in unet.parameters()), latent_size, text_length)
    if key not in _counts:
        _counts[key] = _count(unet, latent_size, text_length)
    return _counts[key]


_drawings: dict[tuple[object, ...], Tensor] = {}
_draw_all = data.draw_all


def _drawn_once(scenes: list[Any], *seed: object, advance: Callable[[int], None] = lambda count: None) -> Tensor:
    """Drawing takes half a second, and most tests need the same pictures."""
    key = (repr(scenes), seed, data.draw)
    if key not in _drawings:
        _drawings[key] = _draw_all(scenes, *seed)
    advance(len(scenes))
    return _drawings[key].clone()


def install(weights: Path, patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """Put the stand-in in the place of mini, whoever asks for it, with few pictures everywhere."""
    patch(testbed, "Mini", partial(Standin, weights))
    patch(data, "RETAIN", 40)
    patch(data, "REAL", 40)
    patch(data, "PRUNING", 40)
    patch(data, "REAL_STYLE", 16)
    patch(data, "draw_all", _drawn_once)
    patch(prompts, "ERASE_PER_TARGET", 2)
    patch(shards, "SHARD_SIZE", 10)
    patch(run_cache, "find", lambda request: None)  # they know the real mini, and would answer for it
    for owner in (macs, testbed):
        patch(owner, "forward_flops", _counted)


def request(home: Path, **changes: Any) -> RunRequest:
    """A bilevel run of a few steps, with a checkpoint after every second one."""
    given: dict[str, Any] = {
        "method": "bilevel",
        "suite": "artists",
        "overrides": {"batch": 4, "lower_steps": 2, "checkpoint_every": 2},
        "runs": home,
        "device": "cpu",
    }
    return RunRequest(**{**given, **changes})


def whole(home: Path, **changes: Any) -> Outcome:
    """One run from beginning to end, or from where it stopped."""
    with Progress() as progress:
        return run.run(request(home, **changes), progress)
