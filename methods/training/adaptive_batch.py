"""Batches that shrink when the device runs out of memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor

from benchmark.errors import DataError


class AdaptiveBatch:
    """Processes independent items in batches, and halves the batch size whenever memory runs out.

    Later calls use the batch size that was found to fit. Results do not depend on it, except for the rounding of
    kernels.

    Args:
        what: name of the computation for the error message, such as "sampling".
        most: largest number of items in a batch.
    """

    def __init__(self, what: str, most: int) -> None:
        self.what, self.most = what, most

    def __call__(self, work: Callable[[slice], Tensor], count: int) -> Tensor:
        """Return the results for all `count` items, one row per item.

        Args:
            work: function that returns the rows for a slice of the items.
            count: number of items.

        Raises:
            DataError: a single item does not fit in memory.
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
                    f"The device's memory is too small for {self.what} a single image: use --precision bf16, a smaller "
                    "testbed, or a GPU with more memory."
                )
            clear_device_cache(garbage_collection=True)
            self.most = (size + 1) // 2
        return parts[0] if len(parts) == 1 else torch.cat(parts)
