"""Sampling with classifier-free guidance and a diffusers scheduler, from noise and encoded texts to latents."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from benchmark.errors import UsageError
from methods.config_fields import identity


class Sampler(BaseModel):
    """Sampling settings, the same for all models of a testbed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheduler: Literal["pndm", "ddim"] = identity("pndm", "PNDM without Runge-Kutta steps (PLMS), or DDIM with eta 0.")
    steps: int = identity(25, "Steps; PNDM calls the U-Net once more.", ge=1)
    guidance: float = identity(4.0, "Classifier-free guidance scale; 1 and below switch guidance off.", ge=0)
    latent_channels: int = identity(4, "Channels of a latent.", ge=1)
    latent_size: int = identity(16, "Height and width of a latent.", ge=1)


def initial_noise(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return noise (N, *shape), made on the CPU with one generator for each image.

    So an image does not depend on the other images of its batch.
    """
    shape = tuple(shape)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def make_scheduler(config: dict[str, Any], sampler: Sampler) -> Any:
    """Return a new diffusers scheduler with its timesteps set.

    Raises:
        UsageError: the scheduler is PNDM and the model predicts the sample.
    """
    scheduler: Any
    if sampler.scheduler == "ddim":
        scheduler = DDIMScheduler.from_config(config, steps_offset=1, clip_sample=False, set_alpha_to_one=False)
    elif config.get("prediction_type", "epsilon") == "sample":
        raise UsageError("PNDM cannot sample a model that predicts the sample: choose scheduler 'ddim'.")
    else:
        scheduler = PNDMScheduler.from_config(config, skip_prk_steps=True, steps_offset=1)
    scheduler.set_timesteps(sampler.steps)
    return scheduler


@torch.no_grad()
def sample(
    unet: UNet2DConditionModel,
    scheduler_config: dict[str, Any],
    text: Tensor,
    null: Tensor,
    noise: Tensor,
    sampler: Sampler,
    stop: int | None = None,
) -> Tensor:
    """Denoise a batch, as diffusers' StableDiffusionPipeline does with the same latents and text states.

    The U-Net computes in its own precision; guidance and the scheduler compute in at least fp32.

    Args:
        text: hidden states (N, L, D) of the prompts.
        null: hidden states (L, D) of the empty prompt.
        noise: noise (N, C, h, w) from `initial_noise`.
        stop: number of U-Net calls, all by default. With fewer calls, the result is x_t at the timestep
            `make_scheduler(...).timesteps[stop]`.

    Returns:
        Latents (N, C, h, w) on the U-Net's device, multiplied by the VAE's scaling factor.
    """
    scheduler = make_scheduler(scheduler_config, sampler)
    training = unet.training
    unet.eval()
    dtype, wide_dtype = unet.dtype, torch.promote_types(unet.dtype, torch.float32)
    latents = noise.to(unet.device, wide_dtype) * scheduler.init_noise_sigma
    guided = sampler.guidance > 1
    states = torch.cat([null.to(text).expand_as(text), text]) if guided else text
    states = states.to(unet.device, dtype)
    for t in scheduler.timesteps[:stop]:
        doubled = torch.cat([latents, latents]) if guided else latents
        prediction = unet(doubled.to(dtype), t, encoder_hidden_states=states, return_dict=False)[0].to(wide_dtype)
        if guided:
            unconditional, conditional = prediction.chunk(2)
            prediction = unconditional + sampler.guidance * (conditional - unconditional)
        latents = scheduler.step(prediction, t, latents, return_dict=False)[0]
    unet.train(training)
    # Autocast keeps casts of weights that were made here without gradients; training must not use them.
    torch.clear_autocast_cache()
    return latents
