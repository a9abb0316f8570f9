"""Work on many items that memory may not hold at once: fewer at a time, as few as it wants."""

from __future__ import annotations

from collections.abc import Callable

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor

from benchmark.errors import DataError


class AdaptiveBatch:
    """Items whose results do not depend on each other, at most `most` at a time; halved whenever memory runs out.

    The size that fitted is remembered. Results are those of one piece, to the rounding of its kernels.
    """

    def __init__(self, what: str, most: int) -> None:
        self.what, self.most = what, most

    def __call__(self, work: Callable[[slice], Tensor], count: int) -> Tensor:
        """Rows of all `count` items from `work`, which gives those of a slice. DataError where not even one fits."""
        done: list[Tensor] = []
        at = 0
        while at < count:
            size = min(self.most, count - at)
            try:
                done.append(work(slice(at, at + size)))
                at += size
                continue
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
            if size == 1:
                raise DataError(
                    f"The device's memory does not hold what {self.what} one picture takes: take --precision bf16, a "
                    "smaller testbed, or a GPU with more memory."
                )
            clear_device_cache(garbage_collection=True)
            self.most = (size + 1) // 2
        return done[0] if len(done) == 1 else torch.cat(done)
