"""Reads the picture files of later training steps in worker processes, while the current step computes.

The batch of a step depends only on seed, stream and iteration (`batches`), so reading ahead cannot change a result.
Workers read and decode files; the VAE and the text encoder run in the training process, on a CUDA device in a stream of
their own beside the U-Net.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmark.errors import PalimpsestError, TrainingError
from methods.base import FileData
from methods.training.batches import Batch, BatchStream, NoiseBatch, NoiseStream, Order, share

AHEAD = 2
"""Batches that each worker reads ahead."""
MOST_WORKERS = 4
SHARED_MEMORY = Path("/dev/shm")
"""Where workers put what they have read; its size limits how far they can read ahead."""

Stream = BatchStream | NoiseStream


def automatic_workers(device: torch.device, processes: int = 1) -> int:
    """Return how many worker processes to use: 4 at most on a CUDA device, none on a CPU, whose cores are all in use.

    Args:
        device: device that trains.
        processes: training processes on this machine, which share its cores.
    """
    if device.type != "cuda":
        return 0
    return max(0, min(MOST_WORKERS, len(os.sched_getaffinity(0)) // processes - 1))


@dataclass(frozen=True)
class _Reading:
    """What a worker needs to read one stream's part of a step. Pickled, so it holds no network."""

    reader: Callable[[Sequence[int]], Tensor]
    order: Order
    rank: int
    world: int

    def __call__(self, iteration: int) -> Tensor:
        return self.reader(self.order.indices(iteration)[share(self.order.batch, self.rank, self.world)].tolist())


class _Steps(Dataset[list[Tensor | PalimpsestError | None]]):
    """Maps a step to what has been read for each stream of its phase; None for a stream without files.

    An error of a file is returned instead of raised, because `DataLoader` would add the worker's traceback to it.
    """

    def __init__(self, repeats: list[int], readings: list[list[_Reading | None]]) -> None:
        self._repeats, self._readings = repeats, readings

    def __getitem__(self, step: int) -> list[Tensor | PalimpsestError | None]:
        phase, iteration = phase_at(self._repeats, step)
        return [_caught(reading, iteration) if reading else None for reading in self._readings[phase]]


class _Tasks(Dataset[Any]):
    """Maps the number of a task to what `reader` returns for it."""

    def __init__(self, reader: Callable[[Any], Tensor], tasks: Sequence[Any]) -> None:
        self._reader, self._tasks = reader, tasks

    def __getitem__(self, number: int) -> Tensor | PalimpsestError:
        return _caught(self._reader, self._tasks[number])


def _caught(read: Callable[[Any], Tensor], argument: Any) -> Tensor | PalimpsestError:
    try:
        return read(argument)
    except PalimpsestError as error:
        return error


def phase_at(repeats: Sequence[int], step: int) -> tuple[int, int]:
    """Return the position of the phase of training step `step` (from 0) in the cycle, and that phase's iteration.

    Args:
        repeats: consecutive steps of each phase of the cycle.
        step: number of the step.
    """
    rounds, rest = divmod(step, sum(repeats))
    for place, end in enumerate(accumulate(repeats)):
        if rest < end:
            return place, rounds * repeats[place] + rest - (end - repeats[place])
    raise AssertionError("unreachable: rest is below the length of the cycle")


def read_ahead(reader: Callable[[Any], Tensor], tasks: Sequence[Any], workers: int) -> Iterator[Tensor]:
    """Yield `reader(task)` for each task in order; with `workers`, later tasks are read meanwhile.

    Raises:
        PalimpsestError: the reader's own error.
        TrainingError: a worker was killed.
    """
    if workers < 1 or len(tasks) < 2:
        yield from map(reader, tasks)
        return
    loaded = _started(_loader(_Tasks(reader, tasks), range(len(tasks)), workers, pinned=False))
    for _ in tasks:
        yield _checked(_next(loaded))


class StepBatches:
    """Draws the batches of training steps in order; a context manager, at whose end the workers stop.

    Args:
        cycle: for each phase of the cycle, the number of its consecutive steps and its streams.
        steps: training steps that will be drawn, from 0.
        device: device of the batches.
        rank: number of this process.
        world: number of processes.
        workers: worker processes that read files; with 0, this process reads them when a step needs them.
        tell: shows a line to the user.
    """

    def __init__(
        self,
        cycle: Sequence[tuple[int, Sequence[Stream]]],
        steps: range,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        tell: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._repeats = [repeats for repeats, _ in cycle]
        self._streams = [streams for _, streams in cycle]
        self._steps, self._device, self._rank, self._world = steps, device, rank, world
        self._side = torch.cuda.Stream(device) if device.type == "cuda" and workers else None
        self._prepared: tuple[int, list[Batch | NoiseBatch]] | None = None
        self._loaded: Iterator[Any] | None = None
        self.waited = 0.0
        """Seconds that this process has waited for files so far."""
        self._readings = [[self._reading(stream) for stream in streams] for streams in self._streams]
        step_bytes = max(map(self._bytes, self._streams))
        if step_bytes and len(steps) > 1 and (fitting := _that_fit(workers, step_bytes, tell)):
            dataset = _Steps(self._repeats, self._readings)
            self._loaded = _started(_loader(dataset, steps, fitting, pinned=device.type == "cuda"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._loaded = self._prepared = None  # the last reference to DataLoader's iterator: its workers end

    def draw(self, step: int) -> list[Batch | NoiseBatch]:
        """Return the batches of a step, one per stream of its phase. Steps must be drawn in order.

        Raises:
            DataError: a picture cannot be read.
            TrainingError: a worker was killed.
        """
        if self._prepared is None or self._prepared[0] != step:
            return self._draw(step)
        batches, self._prepared = self._prepared[1], None
        assert self._side is not None
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._side)
        for batch in batches:
            for value in vars(batch).values():
                if isinstance(value, Tensor):
                    value.record_stream(current)  # so that its memory is not reused while the step computes
        return batches

    def prepare(self, step: int) -> None:
        """Start to encode the batches of the next step beside the computation of the current one, on a CUDA device."""
        if self._side is not None and step in self._steps:
            with torch.cuda.stream(self._side):
                self._prepared = (step, self._draw(step))

    def _draw(self, step: int) -> list[Batch | NoiseBatch]:
        phase, iteration = phase_at(self._repeats, step)
        began = time.perf_counter()
        rows_by_stream = self._read(phase, iteration)
        self.waited += time.perf_counter() - began
        place = (self._device, self._rank, self._world)
        return [
            stream.draw(iteration, *place) if isinstance(stream, NoiseStream) else stream.draw(iteration, *place, rows)
            for stream, rows in zip(self._streams[phase], rows_by_stream, strict=True)
        ]

    def _read(self, phase: int, iteration: int) -> list[Tensor | None]:
        """Return what is read for each stream of the next step; None for a stream without files."""
        if self._loaded is not None:
            return [_checked(part) for part in _next(self._loaded)]
        return [reading(iteration) if reading else None for reading in self._readings[phase]]

    def _reading(self, stream: Stream) -> _Reading | None:
        if isinstance(stream, NoiseStream) or not isinstance(stream.data, FileData):
            return None
        return _Reading(stream.data.reader, stream.order, self._rank, self._world)

    def _bytes(self, streams: Sequence[Stream]) -> int:
        """Return the size in bytes of what is read for one step of a phase."""
        return sum(
            stream.batch // self._world * stream.data.row_bytes
            for stream in streams
            if isinstance(stream, BatchStream) and isinstance(stream.data, FileData)
        )


def _that_fit(workers: int, step_bytes: int, tell: Callable[[str], None]) -> int:
    """Return how many of `workers` have enough shared memory for the batches that they read ahead."""
    if not workers or not SHARED_MEMORY.is_dir():
        return workers
    free = shutil.disk_usage(SHARED_MEMORY).free
    fitting = min(workers, int(0.8 * free) // max(1, (AHEAD + 1) * step_bytes))
    if fitting < workers:
        tell(
            f"{SHARED_MEMORY} has {free / 1e6:,.0f} MB free, enough for {fitting} of {workers} processes that read "
            "pictures ahead: give the container more shared memory (docker --shm-size) for faster training"
        )
    return fitting


def _loader(dataset: Dataset[Any], numbers: range, workers: int, pinned: bool) -> DataLoader[Any]:
    """Return a loader of the items with these numbers, in order, that draws nothing from torch's global generator."""
    with warnings.catch_warnings():
        # The user chooses the number of workers; torch would warn if it exceeds that of the cores.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            prefetch_factor=AHEAD,
            pin_memory=pinned,
            generator=torch.Generator(),
        )


def _started(loader: DataLoader[Any]) -> Iterator[Any]:
    """Start the workers of a loader, and return its iterator.

    torch installs a signal handler that raises the death of a worker in whatever the main thread is doing. It is
    removed here, because the iterator's `next` raises it as well.
    """
    if threading.current_thread() is not threading.main_thread():
        return iter(loader)
    handler = signal.getsignal(signal.SIGCHLD)
    loaded = iter(loader)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL if handler is None else handler)
    return loaded


def _next(loaded: Iterator[Any]) -> Any:
    try:
        return next(loaded)
    except (RuntimeError, EOFError, ConnectionError, FileNotFoundError) as error:  # it may die while it sends a batch
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            "A process that reads training pictures was killed, probably because memory ran out: use fewer --workers. "
            "The last good checkpoint is retained."
        ) from error


def _checked(part: Any) -> Any:
    if isinstance(part, PalimpsestError):
        raise part
    return part
