"""Independent work side by side on the cores of a CPU, and what several processes decide alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch


def agreed(flags: Sequence[bool]) -> list[bool]:
    """The first process's flags, in all processes; called by all of them, with as many flags each.

    What lies in a store may change between the looks of two processes, as another run adds to it.
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
    """`work` of each item, in order; on a CPU as many at a time as torch has threads, elsewhere one by one.

    On two cores that is 5 to 10 % faster than one item after the other on both (sampling on mini), and an item's sums,
    made by one thread, come out the same on any number of cores. Interrupted, it ends what it has begun, and no more.
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
