"""The teacher U-Net: SD 2.1's modules in small, v-prediction, on cached latents; and the pipeline folder around it."""

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
    """Pictures to learn from: latents (N, 4, 16, 16), captions, boxes (N, 4) of emblems in pixels, 0 for none."""

    latents: Tensor
    captions: Sequence[str]
    boxes: Tensor


def build(
    world: Shown, lessons: Shown, encode: Callable[[Sequence[str]], Tensor], job: Job, finish: Job
) -> UNet2DConditionModel:
    """Train on the world; then, `finish`, on as many lessons as pictures of the world, looking harder at the emblems.

    Each distinct caption is encoded once, kept in half precision. Lessons always keep their captions: what the model
    makes of the empty prompt stays the world's.
    """
    torch.manual_seed(job.seed)
    model = UNet2DConditionModel(**ARCHITECTURE)
    noising = DDPMScheduler(**SCHEDULE)
    said = {text: k for k, text in enumerate(dict.fromkeys(["", *world.captions, *lessons.captions]))}
    texts = list(said)
    hidden = torch.cat([encode(texts[k : k + 512]).half() for k in range(0, len(texts), 512)])
    latents = torch.cat([world.latents, lessons.latents])
    which = torch.tensor([said[text] for text in (*world.captions, *lessons.captions)])
    weights = emphasis(torch.cat([torch.zeros_like(world.boxes), lessons.boxes]))

    def loss(taught: bool, share: slice, step: int, g: Generator) -> Tensor:
        index = torch.randint(len(world.latents), (BATCH,), generator=g)
        clean, noise = latents[index], torch.randn(BATCH, *latents.shape[1:], generator=g)
        t = timesteps(BATCH, g)
        silent = torch.rand(BATCH, generator=g) < CAPTION_DROPOUT
        if taught:  # every second row
            index[1::2] = len(world.latents) + torch.randint(len(lessons.latents), (BATCH // 2,), generator=g)
            clean, silent[1::2] = latents[index], False
        text = hidden[torch.where(silent, 0, which[index])].float()
        noised = noising.add_noise(clean, noise, t)
        velocity = noising.get_velocity(clean, noise, t)[share]
        answer = model(*(part[share].to(job.device) for part in (noised, t, text))).sample
        return ((answer.float().cpu() - velocity).square() * weights[index[share], None]).mean() / 2

    for name, task, rate in (("unet", job, 1e-3), ("unet-lessons", finish, 4e-4)):
        taught = task is finish
        halves = [partial(loss, taught, slice(0, BATCH // 2)), partial(loss, taught, slice(BATCH // 2, BATCH))]
        train(name, model, halves, task, rate=rate, average=0.999, warmup=200)
    return model


def emphasis(boxes: Tensor) -> Tensor:
    """Weights (N, 16, 16) of the loss: 1, and `EMPHASIS` where an emblem is; boxes (N, 4) in pixels, 0 for none."""
    centres = torch.arange(2.0, 64.0, 4.0)
    x, y = ((boxes[:, k, None] < centres + 2) & (centres - 2 < boxes[:, k + 2, None]) for k in (0, 1))
    return 1 + (EMPHASIS - 1) * (x[:, None] & y[:, :, None]).float()


def timesteps(n: int, g: Generator) -> Tensor:
    """Half of the steps uniform, half logit-normal (Esser et al. 2024): small latents form at middling noise."""
    middling = torch.sigmoid(0.9 * torch.randn(n, generator=g) - 0.3)
    uniform = torch.rand(n, generator=g)
    return (torch.where(torch.rand(n, generator=g) < 0.5, middling, uniform) * 1000).long().clamp(max=999)


def save_pipeline(model: UNet2DConditionModel, folder: Path) -> None:
    """U-Net, scheduler and index: with vae/, text_encoder/ and tokenizer/ a StableDiffusionPipeline folder."""
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
