"""Trains the teacher U-Net (small, with SD 2.1's modules and v-prediction) and writes its pipeline folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from torch import Generator, Tensor

from benchmark.testbeds.mini.build.loop import Job, train
from benchmark.testbeds.mini.build.tokenizer import CONTEXT
from benchmark.testbeds.mini.build.whole import whole

BATCH, CAPTION_DROPOUT, EMPHASIS = 32, 0.12, 4.0
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
}
ARCHITECTURE = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (48, 96, 160),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": 4,  # diffusers' name; it is the number of heads
    "cross_attention_dim": 128,
    "use_linear_projection": True,
    "norm_num_groups": 8,
}


@dataclass(frozen=True)
class Shown:
    """Training data: latents (N, 4, 16, 16), captions, and boxes (N, 4) of emblems in pixels, 0 for none."""

    latents: Tensor
    captions: Sequence[str]
    boxes: Tensor


def build(
    world: Shown, lessons: Shown, encode: Callable[[Sequence[str]], Tensor], job: Job, finish: Job
) -> UNet2DConditionModel:
    """Train the U-Net on the training corpus, then on batches of half training pictures and half lessons; return it.

    In the second stage, emblems (synthetic signs that stand in for nudity) have a higher weight in the loss. Each
    distinct caption is encoded once, in half precision. Captions of lessons are never dropped, so that the empty prompt
    represents the distribution of the training corpus.

    Args:
        world: the training corpus.
        lessons: pictures of rare cases.
        encode: texts -> hidden states (N, L, D).
        job: settings of the first stage.
        finish: settings of the second stage.
    """
    torch.manual_seed(job.seed)
    model = UNet2DConditionModel(**ARCHITECTURE)
    noising = DDPMScheduler(**SCHEDULE)
    caption_index = {text: k for k, text in enumerate(dict.fromkeys(["", *world.captions, *lessons.captions]))}
    texts = list(caption_index)
    hidden = torch.cat([encode(texts[k : k + 512]).half() for k in range(0, len(texts), 512)])
    latents = torch.cat([world.latents, lessons.latents])
    which = torch.tensor([caption_index[text] for text in (*world.captions, *lessons.captions)])
    weights = emphasis(torch.cat([torch.zeros_like(world.boxes), lessons.boxes]))

    def loss(with_lessons: bool, share: slice, step: int, g: Generator) -> Tensor:
        index = torch.randint(len(world.latents), (BATCH,), generator=g)
        clean, noise = latents[index], torch.randn(BATCH, *latents.shape[1:], generator=g)
        t = timesteps(BATCH, g)
        dropped = torch.rand(BATCH, generator=g) < CAPTION_DROPOUT
        if with_lessons:  # every second row
            index[1::2] = len(world.latents) + torch.randint(len(lessons.latents), (BATCH // 2,), generator=g)
            clean, dropped[1::2] = latents[index], False
        text = hidden[torch.where(dropped, 0, which[index])].float()
        noised = noising.add_noise(clean, noise, t)
        velocity = noising.get_velocity(clean, noise, t)[share]
        prediction = model(*(part[share].to(job.device) for part in (noised, t, text))).sample
        return ((prediction.float().cpu() - velocity).square() * weights[index[share], None]).mean() / 2

    for name, task, rate in (("unet", job, 1e-3), ("unet-lessons", finish, 4e-4)):
        with_lessons = task is finish
        halves = [
            partial(loss, with_lessons, slice(0, BATCH // 2)),
            partial(loss, with_lessons, slice(BATCH // 2, BATCH)),
        ]
        train(name, model, halves, task, rate=rate, average=0.999, warmup=200)
    return model


def emphasis(boxes: Tensor) -> Tensor:
    """Return loss weights (N, 16, 16): `EMPHASIS` inside boxes and 1 elsewhere.

    Args:
        boxes: boxes (N, 4) in pixels, all 0 for pictures without an emblem.
    """
    centres = torch.arange(2.0, 64.0, 4.0)
    x, y = ((boxes[:, k, None] < centres + 2) & (centres - 2 < boxes[:, k + 2, None]) for k in (0, 1))
    return 1 + (EMPHASIS - 1) * (x[:, None] & y[:, :, None]).float()


def timesteps(n: int, g: Generator) -> Tensor:
    """Draw timesteps (n,) from a mixture of a uniform and a logit-normal distribution (Esser et al. 2024).

    The logit-normal half has more medium noise levels, at which the content of small latents forms.
    """
    logit_normal = torch.sigmoid(0.9 * torch.randn(n, generator=g) - 0.3)
    uniform = torch.rand(n, generator=g)
    return (torch.where(torch.rand(n, generator=g) < 0.5, logit_normal, uniform) * 1000).long().clamp(max=999)


def save_pipeline(model: UNet2DConditionModel, folder: Path) -> None:
    """Write U-Net, scheduler and index, which form a pipeline folder with vae/, text_encoder/ and tokenizer/."""
    model.half().save_pretrained(folder / "unet", max_shard_size="8MB")
    PNDMScheduler(**SCHEDULE, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False).save_pretrained(
        folder / "scheduler"
    )
    index = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    with whole(folder / "model_index.json") as part:
        part.write_text(json.dumps(index, indent=2) + "\n")


assert CONTEXT == 32, "the U-Net has been sized for 32 tokens"
