"""Gradient accumulation: computes the gradient of a step in as many parts as the device's memory requires.

A loss is a mean over its batch. The gradients of the parts, weighted by their shares of the batch, therefore add up to
the gradient of the whole batch, except for rounding. The size of the parts is found by trial: a step that runs out of
memory has not changed any weights, and is repeated with smaller parts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor, nn

from benchmark.errors import TrainingError

if TYPE_CHECKING:
    from methods.training.losses import Loss


SMALL = 4
"""Number of images that is enough to use a GPU fully.

A batch is halved down to this size. Before parts become smaller, gradient checkpointing is switched on: activations are
recomputed in the backward pass, which takes a third more computation.
"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A loss whose gradient is computed, such as that of a training phase or of Taylor pruning."""

    name: str
    loss: Callable[..., Loss]
    """Called with the student and one batch (or part of a batch) of each stream; returns a mean over the images."""
    whole: bool = False
    """Whether the loss needs the whole batch, so that the batch cannot be split."""


class Gradients:
    """Computes the gradients of a student. The number of parts found for a phase is used for the rest of the fit.

    Each process splits its batches independently, because processes communicate only after all parts are done.

    Args:
        student: the network that is trained.
        processes: number of processes.
        tell: shows a message to the user; called when batches are split.
    """

    def __init__(self, student: Any, processes: int, tell: Callable[[str], None]) -> None:
        self.student, self.processes, self.tell = student, processes, tell
        self.parts: dict[str, int] = {}
        """Number of parts by phase name; 1 for phases that are not listed."""

    def add(self, phase: Task, batches: Sequence[Any], arithmetic: Callable[[], Any]) -> Loss:
        """Compute the gradient of a phase over the batches of this process. The weights must not have gradients yet.

        Args:
            phase: the loss.
            batches: one batch of each stream.
            arithmetic: returns the context manager in which the loss is computed.

        Returns:
            The detached loss, and detached scalars to log.

        Raises:
            TrainingError: the smallest part does not fit in memory.
        """
        smaller = False
        while True:
            try:
                loss = self._sum(phase, split(batches, self.parts.get(phase.name, 1)), arithmetic)
                break
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
            # After the except block, the error and its traceback are freed, and with them the tensors of the step.
            self.student.zero_grad(set_to_none=True)
            clear_device_cache(garbage_collection=True)
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()  # the reported peak memory must not include the failed attempt
            self._shrink(phase, batches)
            smaller = True
        if smaller:
            self.tell(self._split_message(phase, batches))
        return loss

    def _sum(self, phase: Task, parts: Sequence[tuple[float, Sequence[Any]]], arithmetic: Callable[[], Any]) -> Loss:
        total: dict[str, Tensor] = {}
        for share, batches in parts:
            with arithmetic():
                loss, scalars = phase.loss(self.student, *batches)
            if len(parts) == 1:
                loss.backward()
                return loss.detach(), scalars
            (share * loss).backward()
            for name, value in {"loss": loss.detach(), **scalars}.items():
                total[name] = total[name] + share * value if name in total else share * value
        return total.pop("loss"), total

    def _shrink(self, phase: Task, batches: Sequence[Any]) -> None:
        parts = self.parts.get(phase.name, 1)
        more_parts = None if phase.whole else halved(batches, parts)
        # A loss over the whole batch may communicate between processes; recomputation would repeat that.
        can_recompute = not self.student.is_gradient_checkpointing and not (phase.whole and self.processes > 1)
        if can_recompute and (more_parts is None or largest(batches) <= SMALL * parts):
            self.student.enable_gradient_checkpointing()
        elif more_parts is not None:
            self.parts[phase.name] = more_parts
        elif phase.whole:
            raise TrainingError(
                f"Phase '{phase.name}' does not fit in the device's memory, because its loss needs all "
                f"{largest(batches)} images at once: use a smaller batch, --precision bf16, or a GPU with more memory."
            )
        else:
            raise TrainingError(
                f"Phase '{phase.name}' does not fit in the device's memory, even with "
                f"{math.ceil(largest(batches) / parts)} images at a time and recomputed activations: use --precision "
                "bf16, a smaller testbed, or a GPU with more memory."
            )

    def _split_message(self, phase: Task, batches: Sequence[Any]) -> str:
        parts = self.parts.get(phase.name, 1)
        ways = [f"{math.ceil(largest(batches) / parts)} images at a time"] if parts > 1 else []
        ways += ["with recomputed activations"] if self.student.is_gradient_checkpointing else []
        return (
            f"memory ran out in phase '{phase.name}': its steps of {largest(batches)} images are now computed "
            f"{', '.join(ways)} (the result is the same, except for rounding)"
        )


def split(batches: Sequence[Any], parts: int) -> list[tuple[float, Sequence[Any]]]:
    """Split batches into parts. Returns the share of each part (shares sum to 1) and its rows of all batches."""
    if parts == 1:
        return [(1.0, batches)]
    split_batches = [
        [
            dataclasses.replace(batch, **{name: t.tensor_split(parts)[k] for name, t in _tensors(batch).items()})
            for batch in batches
        ]
        for k in range(parts)
    ]
    return [(images(part[0]) / images(batches[0]), part) for part in split_batches]


def images(batch: Any) -> int:
    """Return the number of rows of a batch; 0 for a batch of a plug-in that cannot be split."""
    return len(next(iter(_tensors(batch).values()), ()))


def largest(batches: Sequence[Any]) -> int:
    """Return the number of images in the largest batch."""
    return max(map(images, batches))


def halved(batches: Sequence[Any], parts: int) -> int | None:
    """Return a number of parts about twice as large, or the largest possible one; None if there is no larger one.

    With several batches, a part must contain the same share of every batch, because the loss of
    a part is one sum over all batches, which has a single weight.
    """
    counts = [images(batch) for batch in batches]
    most = math.gcd(*counts)
    possible = [n for n in range(parts + 1, most + 1) if len(counts) == 1 or most % n == 0]
    return next((n for n in possible if n >= 2 * parts), possible[-1] if possible else None)


def _tensors(batch: Any) -> dict[str, Tensor]:
    """Return the fields of a batch that are tensors, with one row per image."""
    if not dataclasses.is_dataclass(batch):
        return {}
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


BUCKET = 25 * 2**20
"""Bytes of gradients that processes exchange in one message; many small messages would be slower."""


def mean_over_processes(parameters: Iterable[nn.Parameter], processes: int, size: int = BUCKET) -> None:
    """Replace each gradient by its mean over all processes, in place.

    Gradients are exchanged in flat messages of at most `size` bytes, except for single gradients that are larger. All
    processes must have gradients for the same parameters.
    """
    if processes > 1:
        for bucket in buckets([p.grad for p in parameters if p.grad is not None], size):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            torch.distributed.all_reduce(flat)
            flat /= processes
            for gradient, mean in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
                gradient.copy_(mean.view(gradient.shape))


def buckets(tensors: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Yield the tensors in order, in groups of one dtype and at most `size` bytes, or of a single larger tensor."""
    bucket: list[Tensor] = []
    bucket_bytes = 0
    for tensor in tensors:
        tensor_bytes = tensor.numel() * tensor.element_size()
        if bucket and (bucket_bytes + tensor_bytes > size or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, bucket_bytes = [], 0
        bucket.append(tensor)
        bucket_bytes += tensor_bytes
    if bucket:
        yield bucket
