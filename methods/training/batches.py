"""Batches with stateless randomness: what a step draws depends on (seed, stream, iteration) alone.

So a resumed run, and any number of processes, see the batches that one uninterrupted process sees.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.errors import DataError, UsageError
from methods.base import Data


def generator(*key: int | str) -> torch.Generator:
    """Return a CPU generator seeded by a hash of the key, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass(frozen=True)
class Batch:
    """One process's share of a batch."""

    x0: Tensor
    """Latents (n, C, h, w)."""
    text: Tensor
    """Hidden states (n, L, D), the null prompt where the caption was dropped."""
    noise: Tensor
    """Standard normal, like x0."""
    t: Tensor
    """Timesteps (n,), uniform in 0..timesteps-1."""


@dataclass(frozen=True, kw_only=True)
class BatchStream:
    """Batches of one data set for one phase. Each picture is drawn once an epoch, in an order of the epoch's own."""

    name: str
    seed: int
    data: Data
    null: Tensor
    batch: int
    timesteps: int
    dropout: float = 0.0
    """Probability that a caption becomes the null prompt, 0..1."""

    def __post_init__(self) -> None:
        if len(self.data) == 0:
            raise DataError(f"There is not one picture for '{self.name}': the testbed must provide some.")

    def indices(self, iteration: int) -> Tensor:
        """Rows of the global batch (batch,)."""
        size = len(self.data)
        positions = torch.arange(iteration * self.batch, (iteration + 1) * self.batch)
        epochs = range(int(positions[0]) // size, int(positions[-1]) // size + 1)
        orders = [torch.randperm(size, generator=generator(self.seed, self.name, "order", e)) for e in epochs]
        return torch.cat(orders)[positions - epochs.start * size]

    def draw(self, iteration: int, device: torch.device, rank: int = 0, world: int = 1) -> Batch:
        """Draw the whole batch's randomness, and return the part of process `rank` of `world` on `device`."""
        mine = share(self.batch, rank, world)
        x0, text = self.data.batch(self.indices(iteration)[mine])
        source = generator(self.seed, self.name, "noise", iteration)
        t = torch.randint(self.timesteps, (self.batch,), generator=source)[mine]
        dropped = (torch.rand(self.batch, generator=source) < self.dropout)[mine]
        noise = torch.randn((self.batch, *x0.shape[1:]), generator=source)[mine]
        x0, text = x0.to(device), text.to(device)
        text = torch.where(dropped.to(device)[:, None, None], self.null.to(device, text.dtype), text)
        return Batch(x0=x0, text=text, noise=noise.to(device, x0.dtype), t=t.to(device))


@dataclass(frozen=True)
class NoiseBatch:
    """One process's share of a batch that denoises noise under one text, up to a step."""

    text: Tensor
    """Hidden states (n, L, D), the same in every row."""
    noise: Tensor
    """Standard normal (n, C, h, w)."""
    stop: int
    """Steps that are made, 0 to all but one."""


@dataclass(frozen=True, kw_only=True)
class NoiseStream:
    """Noise to denoise under one of several texts, up to a step of which each is drawn once an epoch."""

    name: str
    seed: int
    text: Tensor
    """Hidden states (k, L, D); one is drawn for each iteration."""
    batch: int
    steps: int
    shape: tuple[int, ...]
    """Of one latent (C, h, w)."""
    inner: bool = False
    """Whether the first and the last step are never drawn."""

    def draw(self, iteration: int, device: torch.device, rank: int = 0, world: int = 1) -> NoiseBatch:
        """As `BatchStream.draw`."""
        mine = share(self.batch, rank, world)
        stops = range(1, self.steps - 1) if self.inner else range(self.steps)
        epoch, place = divmod(iteration, len(stops))
        order = torch.randperm(len(stops), generator=generator(self.seed, self.name, "stop", epoch))
        source = generator(self.seed, self.name, "noise", iteration)
        text = self.text[torch.randint(len(self.text), (), generator=source)]
        noise = torch.randn((self.batch, *self.shape), generator=source)[mine]
        stop = stops[int(order[place])]
        return NoiseBatch(text=text.expand(len(noise), -1, -1).to(device), noise=noise.to(device), stop=stop)


def share(batch: int, rank: int, world: int) -> slice:
    """Rows of process `rank` of `world`; `UsageError` where they are not as many for each."""
    if batch % world:
        raise UsageError(f"A batch of {batch} cannot be shared evenly by {world} processes: change one.")
    return slice(rank * batch // world, (rank + 1) * batch // world)
