"""Sampling of latents from noise and encoded texts, with classifier-free guidance and a diffusers scheduler."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from benchmark.errors import SamplingError
from benchmark.json_types import NetworkConfig
from methods.config_fields import identity
from methods.sampling_steps import check_schedule


class Sampler(BaseModel):
    """Sampling settings, the same for all models of a testbed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    scheduler: Literal["pndm", "ddim"] = identity("pndm", "PNDM without Runge-Kutta steps (PLMS), or DDIM with eta 0.")
    steps: int = identity(25, "Sampling steps; PNDM calls the U-Net once more.", ge=1)
    guidance: float = identity(4.0, "Classifier-free guidance scale; values up to 1 switch guidance off.", ge=0)
    latent_channels: int = identity(4, "Channels of a latent.", ge=1)
    latent_size: int = identity(16, "Height and width of a latent.", ge=1)


INPUTS = (
    "in_channels", "out_channels", "cross_attention_dim", "encoder_hid_dim", "encoder_hid_dim_type", "class_embed_type",
    "num_class_embeds", "addition_embed_type", "time_cond_proj_dim", "attention_type",
)  # fmt: skip
"""Fields of a U-Net's config that determine its inputs and outputs; all other fields determine its inner layers."""
_DEFAULTS = {name: p.default for name, p in inspect.signature(UNet2DConditionModel.__init__).parameters.items()}


def inputs(config: Mapping[str, Any]) -> NetworkConfig:
    """Return the fields `INPUTS` of a U-Net's config, with the defaults of diffusers for missing ones.

    A list that repeats a single value is replaced by that value.
    """
    fields = {name: config.get(name, _DEFAULTS[name]) for name in INPUTS}
    return {
        name: value[0] if isinstance(value, list | tuple) and len(set(map(str, value))) == 1 else value
        for name, value in fields.items()
    }


def extra_inputs(config: Mapping[str, Any]) -> NetworkConfig:
    """Return the config fields that make a U-Net require more inputs than the latents, time and text of `sample`."""
    conditions = INPUTS[INPUTS.index("encoder_hid_dim") :]
    return {name: value for name, value in inputs(config).items() if name in conditions and value != _DEFAULTS[name]}


def check_finite(latents: Tensor, what: str) -> Tensor:
    """Return latents or decoded images unchanged, if all values are finite.

    Raises:
        SamplingError: a value is NaN or infinite; the message begins with `what`.
    """
    if not latents.isfinite().all():
        raise SamplingError(
            f"{what} that are not finite (NaN or infinity): its weights are broken or overflow in this precision. "
            "Use a different checkpoint or --precision fp32."
        )
    return latents


def initial_noise(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return standard normal noise (N, *shape), drawn on the CPU with one generator per image.

    An image therefore does not depend on the other images of its batch.
    """
    shape = tuple(shape)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def make_scheduler(config: NetworkConfig, sampler: Sampler) -> Any:
    """Return a new diffusers scheduler with its timesteps set.

    Raises:
        UsageError: the scheduler cannot sample the model in this number of steps (see `check_schedule`).
    """
    check_schedule(config, sampler.scheduler, sampler.steps)
    scheduler: Any
    if sampler.scheduler == "ddim":
        scheduler = DDIMScheduler.from_config(config, steps_offset=1, clip_sample=False, set_alpha_to_one=False)
    else:
        scheduler = PNDMScheduler.from_config(config, skip_prk_steps=True, steps_offset=1)
    scheduler.set_timesteps(sampler.steps)
    return scheduler


@torch.no_grad()
def sample(
    unet: UNet2DConditionModel,
    scheduler_config: NetworkConfig,
    text: Tensor,
    null: Tensor,
    noise: Tensor,
    sampler: Sampler,
    stop: int | None = None,
) -> Tensor:
    """Denoise a batch as StableDiffusionPipeline of diffusers does with the same latents and text states.

    The U-Net computes in the precision of its weights; guidance and the scheduler compute in at least fp32.

    Args:
        unet: the U-Net.
        scheduler_config: diffusers scheduler config of the model.
        text: hidden states (N, L, D) of the prompts.
        null: hidden states (L, D) of the empty prompt.
        noise: noise (N, C, h, w) from `initial_noise`.
        sampler: sampling settings.
        stop: number of U-Net calls; default: all. With fewer calls, the result is x_t at the timestep
            `make_scheduler(...).timesteps[stop]`.

    Returns:
        Latents (N, C, h, w) on the U-Net's device, multiplied by the VAE's scaling factor.
    """
    scheduler = make_scheduler(scheduler_config, sampler)
    training = unet.training
    unet.eval()
    dtype, wide_dtype = unet.dtype, torch.promote_types(unet.dtype, torch.float32)
    latents: Tensor = noise.to(unet.device, wide_dtype) * scheduler.init_noise_sigma
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
    # Autocast caches the weights that were cast here without gradients; training must not use them.
    torch.clear_autocast_cache()
    return latents
