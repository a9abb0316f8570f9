"""Batches with stateless randomness: the random numbers of a step depend only on seed, stream name and iteration.

A resumed run, and a run with any number of processes, therefore gets the same batches as one uninterrupted process.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.errors import DataError, UsageError
from methods.base import Data, FileData


def generator(*key: int | str) -> torch.Generator:
    """Return a CPU generator seeded with a hash of `key`, which is the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@dataclass(frozen=True)
class Batch:
    """The rows of a batch that one process gets."""

    x0: Tensor
    """Latents (n, C, h, w)."""
    text: Tensor
    """Hidden states (n, L, D) of the captions; those of the empty prompt if the caption was dropped."""
    noise: Tensor
    """Standard normal noise, shaped like x0."""
    t: Tensor
    """Timesteps (n,), drawn uniformly from 0..timesteps-1."""


@dataclass(frozen=True)
class Order:
    """The order in which a stream draws its images: each once per epoch, in a different order in each epoch."""

    seed: int
    name: str
    size: int
    """Number of images."""
    batch: int

    def indices(self, iteration: int) -> Tensor:
        """Return the indices (batch,) of the images in the batch of all processes."""
        positions = torch.arange(iteration * self.batch, (iteration + 1) * self.batch)
        epochs = range(int(positions[0]) // self.size, int(positions[-1]) // self.size + 1)
        orders = [torch.randperm(self.size, generator=generator(self.seed, self.name, "order", e)) for e in epochs]
        return torch.cat(orders)[positions - epochs.start * self.size]


@dataclass(frozen=True, kw_only=True)
class BatchStream:
    """Batches of a data set for one phase. Each image is drawn once per epoch, in a different order in each epoch."""

    name: str
    seed: int
    data: Data
    null: Tensor
    batch: int
    timesteps: int
    dropout: float = 0.0
    """Probability (0..1) that a caption is replaced by the empty prompt."""

    def __post_init__(self) -> None:
        if len(self.data) == 0:
            raise DataError(f"The data set for '{self.name}' has no images: the testbed must provide at least one.")

    @property
    def order(self) -> Order:
        """The order in which images are drawn."""
        return Order(self.seed, self.name, len(self.data), self.batch)

    def indices(self, iteration: int) -> Tensor:
        """Return the indices (batch,) of the images in the batch of all processes."""
        return self.order.indices(iteration)

    def draw(
        self, iteration: int, device: torch.device, rank: int = 0, world: int = 1, read: Tensor | None = None
    ) -> Batch:
        """Return the rows of a batch for process `rank` of `world` processes, on `device`.

        Random numbers are drawn for the batch of all processes, so that they do not depend on the number of processes.

        Args:
            iteration: number of the batch, from 0.
            device: device of the batch.
            rank: number of this process.
            world: number of processes.
            read: these rows as `FileData.reader` returns them, if they have been read already.
        """
        rows = share(self.batch, rank, world)
        indices = self.indices(iteration)[rows]
        if read is not None and isinstance(self.data, FileData):
            x0, text = self.data.encoded(indices, read)
        else:
            x0, text = self.data.batch(indices)
        source = generator(self.seed, self.name, "noise", iteration)
        t = torch.randint(self.timesteps, (self.batch,), generator=source)[rows]
        dropped = (torch.rand(self.batch, generator=source) < self.dropout)[rows]
        noise = torch.randn((self.batch, *x0.shape[1:]), generator=source)[rows]
        x0, text = x0.to(device), text.to(device)
        text = torch.where(dropped.to(device)[:, None, None], self.null.to(device, text.dtype), text)
        return Batch(x0=x0, text=text, noise=noise.to(device, x0.dtype), t=t.to(device))


@dataclass(frozen=True)
class NoiseBatch:
    """The rows that one process gets of a batch of noise, to be denoised with one text up to a given step."""

    text: Tensor
    """Hidden states (n, L, D), the same in every row."""
    noise: Tensor
    """Standard normal noise (n, C, h, w)."""
    stop: int
    """Number of denoising steps to take, from 0 to one less than the steps of a complete sampling."""


@dataclass(frozen=True, kw_only=True)
class NoiseStream:
    """Batches of noise to denoise with one of several texts, up to a random step. Each step occurs once per epoch."""

    name: str
    seed: int
    text: Tensor
    """Hidden states (k, L, D); one text is drawn for each iteration."""
    batch: int
    steps: int
    shape: tuple[int, ...]
    """Shape (C, h, w) of a latent."""
    inner: bool = False
    """Whether the first and the last step are excluded."""

    def draw(self, iteration: int, device: torch.device, rank: int = 0, world: int = 1) -> NoiseBatch:
        """Return the rows of a batch for process `rank` of `world` processes, on `device`; see `BatchStream.draw`."""
        rows = share(self.batch, rank, world)
        stops = range(1, self.steps - 1) if self.inner else range(self.steps)
        epoch, place = divmod(iteration, len(stops))
        order = torch.randperm(len(stops), generator=generator(self.seed, self.name, "stop", epoch))
        source = generator(self.seed, self.name, "noise", iteration)
        text = self.text[torch.randint(len(self.text), (), generator=source)]
        noise = torch.randn((self.batch, *self.shape), generator=source)[rows]
        stop = stops[int(order[place])]
        return NoiseBatch(text=text.expand(len(noise), -1, -1).to(device), noise=noise.to(device), stop=stop)


def share(batch: int, rank: int, world: int) -> slice:
    """Return the rows of process `rank` of `world`. Raises UsageError if the batch cannot be divided evenly."""
    if batch % world:
        raise UsageError(
            f"A batch of {batch} images cannot be divided evenly among {world} processes: change either number."
        )
    return slice(rank * batch // world, (rank + 1) * batch // world)
