"""Computes the two halves of a training step at once on a CPU, each in its own thread with half of torch's threads.

Most operations of a small U-Net take less than a millisecond. Two threads that share every operation wait for each
other thousands of times per step; two threads with one half each wait once. The gradients of the halves are added, so
the result differs from that of the whole batch by rounding, and is the same on one and on two cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Self, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Halves:
    """Two threads that compute halves of batches; a context manager, at whose end they stop."""

    def __init__(self) -> None:
        self._threads = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._threads > 1:
            own = self._threads // 2
            self._pool = ThreadPoolExecutor(2, "half", initializer=torch.set_num_threads, initargs=(own,))
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._threads)

    def __call__(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return the results of `work` for two items, in order; with a single torch thread, one after the other.

        An error of `work` is raised after both threads have finished.
        """
        if self._pool is None:
            return [work(item) for item in items]
        torch.set_num_threads(self._threads // 2)
        try:
            futures: list[Future[Any]] = [self._pool.submit(work, item) for item in items]
            wait(futures)
        finally:
            torch.set_num_threads(self._threads)
        return [future.result() for future in futures]
