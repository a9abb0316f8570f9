"""Batches that become smaller when the device runs out of memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor

from benchmark.errors import DataError


class AdaptiveBatch:
    """Processes independent items in batches of at most `most`, and halves the batch whenever memory runs out.

    The size that fits is kept for later calls. Results do not depend on it, except for the rounding of kernels.

    Args:
        what: the work, for the error message, such as "sampling".
        most: largest number of items in a batch.
    """

    def __init__(self, what: str, most: int) -> None:
        self.what, self.most = what, most

    def __call__(self, work: Callable[[slice], Tensor], count: int) -> Tensor:
        """Return the rows of all `count` items.

        Args:
            work: returns the rows of a slice of the items.
            count: number of items.

        Raises:
            DataError: memory does not hold a single item.
        """
        parts: list[Tensor] = []
        start = 0
        while start < count:
            size = min(self.most, count - start)
            try:
                parts.append(work(slice(start, start + size)))
                start += size
                continue
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
            if size == 1:
                raise DataError(
                    f"The device's memory does not hold what {self.what} one picture takes: use --precision bf16, a "
                    "smaller testbed, or a GPU with more memory."
                )
            clear_device_cache(garbage_collection=True)
            self.most = (size + 1) // 2
        return parts[0] if len(parts) == 1 else torch.cat(parts)
