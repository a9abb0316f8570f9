"""Where an erasing loss looks: x_t, its timestep, and the text it is answered under."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from methods.base import Data, Materials
from methods.sampling import make_scheduler, sample
from methods.training import losses
from methods.training.batches import Start, Starts, Stream

Seen = tuple[Tensor, Tensor, Tensor]
"""x_t (n, C, h, w), t (n,), text (n, L, D)."""


@dataclass(frozen=True)
class View:
    """A stream, and what a model looks at for one draw of it."""

    stream: Stream | Starts
    look: Callable[[nn.Module, Any], Seen]
    calls: int
    """Passes of the model that is trained, for each image, before it answers: on average over the stream."""


def noised(name: str, seed: int, data: Data, materials: Materials, batch: int) -> View:
    """Ready pictures, noised to any timestep."""
    process = losses.Process(materials.scheduler)
    stream = Stream(name=name, seed=seed, data=data, null=materials.null, batch=batch, timesteps=process.timesteps)
    return View(stream, lambda model, draw: (process.noisy(draw), draw.t, draw.text), 0)


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
    """Noise that the model itself denoises under one of `text` (k, L, D), up to a random step of DDIM's `steps`.

    The step is drawn without replacement, so that the mean number of passes is exact after every `steps` iterations.
    With `inner`, neither the first nor the last step is drawn. `offset` lets the loss look at so many timesteps further
    towards noise than x_t is.
    """
    change = {"scheduler": "ddim", "steps": steps, "guidance": guidance}
    sampler = materials.sampler.model_copy(update=change)
    last = materials.scheduler["num_train_timesteps"] - 1
    times = (make_scheduler(materials.scheduler, sampler).timesteps + offset).clamp(max=last)
    shape = (sampler.latent_channels, sampler.latent_size, sampler.latent_size)

    def look(model: Any, draw: Start) -> Seen:
        x_t = sample(model, materials.scheduler, draw.text, materials.null, draw.noise, sampler, stop=draw.stop)
        return x_t, times[draw.stop].expand(len(x_t)).to(x_t.device), draw.text

    stream = Starts(name=name, seed=seed, text=text.cpu(), batch=batch, steps=steps, shape=shape, inner=inner)
    return View(stream, look, steps - 1)  # (steps - 1) / 2 steps on average, with and without the text


def texts_of(data: Data) -> Tensor:
    """All hidden states of a data set (N, L, D)."""
    return data.batch(torch.arange(len(data)))[1]
