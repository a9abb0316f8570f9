"""Inputs of an erasing loss: noisy latents x_t, their timesteps, and the text that the U-Net is conditioned on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from methods.base import Data, Materials
from methods.sampling import make_scheduler, sample
from methods.training import losses
from methods.training.batches import BatchStream, NoiseBatch, NoiseStream

Inputs = tuple[Tensor, Tensor, Tensor]
"""x_t (n, C, h, w), t (n,), text (n, L, D)."""


@dataclass(frozen=True)
class View:
    """A stream of batches, and a function that computes the inputs of the U-Net from a batch."""

    stream: BatchStream | NoiseStream
    inputs: Callable[[nn.Module, Any], Inputs]
    """Called with the trained model and a batch of the stream; returns the inputs."""
    calls: int
    """Mean number of forward passes of the trained model, per image, that are needed to sample x_t."""


def noised(name: str, seed: int, data: Data, materials: Materials, batch: int) -> View:
    """Return a view whose x_t are latents of a data set with added noise, at uniformly drawn timesteps."""
    process = losses.Process(materials.scheduler)
    stream = BatchStream(name=name, seed=seed, data=data, null=materials.null, batch=batch, timesteps=process.timesteps)
    return View(stream, lambda model, batch: (process.noisy(batch), batch.t, batch.text), 0)


def denoised(
    name: str,
    seed: int,
    text: Tensor,
    materials: Materials,
    batch: int,
    *,
    steps: int,
    guidance: float,
    offset: int = 0,
    inner: bool = False,
) -> View:
    """Return a view whose x_t are noise that the trained model has denoised up to a random DDIM step, as in ESD.

    Steps are drawn without replacement, so that the mean number of passes is exact after each epoch of steps.

    Args:
        name: name of the stream.
        seed: seed of the stream.
        text: hidden states (k, L, D) of texts; one of them is drawn for each iteration.
        materials: scheduler, sampler and empty prompt.
        batch: images per iteration.
        steps: DDIM steps of a complete sampling.
        guidance: scale of classifier-free guidance.
        offset: added to the timestep of x_t in the loss. If positive, the U-Net gets a noisier timestep than x_t has.
        inner: whether the first and the last step are excluded.
    """
    settings = {"scheduler": "ddim", "steps": steps, "guidance": guidance}
    sampler = materials.sampler.model_copy(update=settings)
    last = materials.scheduler["num_train_timesteps"] - 1
    times = (make_scheduler(materials.scheduler, sampler).timesteps + offset).clamp(max=last)
    shape = (sampler.latent_channels, sampler.latent_size, sampler.latent_size)

    def inputs(model: Any, batch: NoiseBatch) -> Inputs:
        x_t = sample(model, materials.scheduler, batch.text, materials.null, batch.noise, sampler, stop=batch.stop)
        return x_t, times[batch.stop].expand(len(x_t)).to(x_t.device), batch.text

    stream = NoiseStream(name=name, seed=seed, text=text.cpu(), batch=batch, steps=steps, shape=shape, inner=inner)
    return View(stream, inputs, steps - 1)  # (steps - 1) / 2 steps on average, two passes each


def texts_of(data: Data) -> Tensor:
    """Return the hidden states (N, L, D) of all captions of a data set."""
    return data.batch(torch.arange(len(data)))[1]
