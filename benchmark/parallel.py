"""Runs independent tasks in parallel on CPU cores, and broadcasts decisions to all processes of a distributed run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch


def agreed(flags: Sequence[bool]) -> list[bool]:
    """Return the flags of the first process in all processes.

    All processes must call it with equally many flags. It makes processes agree about the content of the store, which
    another run may change between the checks of two processes.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast

    state = PartialState()
    if state.num_processes == 1:
        return list(flags)
    shared = broadcast(torch.tensor(list(flags), dtype=torch.uint8, device=state.device))
    return [bool(flag) for flag in shared.tolist()]


Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], device: torch.device) -> Iterator[Result]:
    """Apply `work` to each item and yield the results in order; on a CPU, in as many threads as torch uses.

    Each item is computed by one torch thread. On two cores, this is 5 to 10 % faster than computing each item with two
    threads (sampling on mini), and results do not depend on the number of cores. After an interruption, items that have
    been started are finished, and no others are started. On other devices, items are computed one by one.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or not items:
        yield from map(work, items)
        return
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(min(threads, len(items)))
    try:
        yield from map(work, items) if threads == 1 else pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
