"""One step's gradient, in as many parts as the device's memory wants.

A loss is a mean over its batch, so those of its parts, each weighted by its share, add up to the whole batch's gradient
but for rounding. How small the parts must be is found by trying: a step that runs out of memory has not moved a weight
yet, and is taken again in smaller ones.
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
"""Images that keep a GPU busy. A batch is halved down to so many; then activations are computed again in the backward
pass (`enable_gradient_checkpointing`, a third more work) before the parts become smaller still."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a gradient is taken of: a phase of training, or a look at what weights matter."""

    name: str
    loss: Callable[..., Loss]
    """Called with the student and one draw of each stream, or the same share of each: a mean over their images."""
    whole: bool = False
    """Whether the loss is no mean over images, so that a batch that memory does not hold cannot be split."""


class Gradients:
    """Gradients of one student's steps. What memory taught about a phase is remembered for the rest of the fit.

    Each of several processes splits as it needs: nothing is exchanged until all parts are done.
    """

    def __init__(self, student: Any, processes: int, tell: Callable[[str], None]) -> None:
        self.student, self.processes, self.tell = student, processes, tell
        self.parts: dict[str, int] = {}
        """By phase; one where nothing is said."""

    def add(self, phase: Task, draws: Sequence[Any], arithmetic: Callable[[], Any]) -> Loss:
        """Add the phase's gradient over this process's `draws` to that of the weights, which must have none before.

        Args:
            arithmetic: makes the context in which the loss is computed.

        Returns:
            The loss, detached, and its figures.

        Raises:
            TrainingError: not even the smallest part fits.
        """
        smaller = False
        while True:
            try:
                made = self._sum(phase, split(draws, self.parts.get(phase.name, 1)), arithmetic)
                break
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
            # Here the error is gone, and with its traceback what the failed step held.
            self.student.zero_grad(set_to_none=True)
            clear_device_cache(garbage_collection=True)
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()  # the ledger is to tell what a step needs, not what was there
            self._shrink(phase, draws)
            smaller = True
        if smaller:
            self.tell(self._told(phase, draws))
        return made

    def _sum(self, phase: Task, parts: Sequence[tuple[float, Sequence[Any]]], arithmetic: Callable[[], Any]) -> Loss:
        total: dict[str, Tensor] = {}
        for share, draws in parts:
            with arithmetic():
                loss, figures = phase.loss(self.student, *draws)
            if len(parts) == 1:
                loss.backward()
                return loss.detach(), figures
            (share * loss).backward()
            for name, figure in {"loss": loss.detach(), **figures}.items():
                total[name] = total[name] + share * figure if name in total else share * figure
        return total.pop("loss"), total

    def _shrink(self, phase: Task, draws: Sequence[Any]) -> None:
        now = self.parts.get(phase.name, 1)
        more = None if phase.whole else halved(draws, now)
        # A loss that wants its batch whole may exchange something among processes, and must not do so twice.
        again = not self.student.is_gradient_checkpointing and not (phase.whole and self.processes > 1)
        if again and (more is None or largest(draws) <= SMALL * now):
            self.student.enable_gradient_checkpointing()
        elif more is not None:
            self.parts[phase.name] = more
        elif phase.whole:
            raise TrainingError(
                f"The device's memory does not hold phase '{phase.name}', whose loss needs its {largest(draws)} images "
                "together: take a smaller batch, --precision bf16, or a GPU with more memory."
            )
        else:
            raise TrainingError(
                f"The device's memory does not hold {math.ceil(largest(draws) / now)} of the images of phase "
                f"'{phase.name}', activations computed again or not: take --precision bf16, a smaller testbed, or a "
                "GPU with more memory."
            )

    def _told(self, phase: Task, draws: Sequence[Any]) -> str:
        now = self.parts.get(phase.name, 1)
        ways = [f"{math.ceil(largest(draws) / now)} images at a time"] if now > 1 else []
        ways += ["computing activations again"] if self.student.is_gradient_checkpointing else []
        return (
            f"memory ran out in phase '{phase.name}': its steps of {largest(draws)} images are now taken "
            f"{', '.join(ways)} (the same sums, to rounding)"
        )


def split(draws: Sequence[Any], parts: int) -> list[tuple[float, Sequence[Any]]]:
    """Each part's share (0 to 1, in sum 1) and its rows of all draws."""
    if parts == 1:
        return [(1.0, draws)]
    cut = [
        [dataclasses.replace(d, **{name: t.tensor_split(parts)[k] for name, t in _tensors(d).items()}) for d in draws]
        for k in range(parts)
    ]
    return [(images(part[0]) / images(draws[0]), part) for part in cut]


def images(draw: Any) -> int:
    """Rows of a draw; 0 for a stranger's that cannot be split."""
    return len(next(iter(_tensors(draw).values()), ()))


def largest(draws: Sequence[Any]) -> int:
    """Images of the largest draw."""
    return max(map(images, draws))


def halved(draws: Sequence[Any], parts: int) -> int | None:
    """About twice as many parts, or the most there can be; None where there are so many already.

    Of two draws each part must hold the same share, else no one weight would do for both in the sum of their losses.
    """
    counts = [images(draw) for draw in draws]
    most = math.gcd(*counts)
    possible = [n for n in range(parts + 1, most + 1) if len(counts) == 1 or most % n == 0]
    return next((n for n in possible if n >= 2 * parts), possible[-1] if possible else None)


def _tensors(draw: Any) -> dict[str, Tensor]:
    """Fields that have a row for each image."""
    if not dataclasses.is_dataclass(draw):
        return {}
    found = {field.name: getattr(draw, field.name) for field in dataclasses.fields(draw)}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


BUCKET = 25 * 2**20
"""Bytes of gradients that processes exchange at once: a message for each of hundreds of small ones would cost more time
on its way than in it."""


def mean_over_processes(parameters: Iterable[nn.Parameter], processes: int, size: int = BUCKET) -> None:
    """Make each gradient the mean of all processes', in place.

    They travel side by side in flat messages of `size` bytes or of one larger gradient. Processes must have gradients
    of the same parameters.
    """
    if processes > 1:
        for bucket in buckets([p.grad for p in parameters if p.grad is not None], size):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            torch.distributed.all_reduce(flat)
            flat /= processes
            for gradient, mean in zip(bucket, flat.split([each.numel() for each in bucket]), strict=True):
                gradient.copy_(mean.view(gradient.shape))


def buckets(tensors: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    """The tensors in order: as many of one precision as hold `size` bytes together, or one that holds more."""
    found: list[Tensor] = []
    held = 0
    for tensor in tensors:
        bytes_ = tensor.numel() * tensor.element_size()
        if found and (held + bytes_ > size or tensor.dtype != found[0].dtype):
            yield found
            found, held = [], 0
        found.append(tensor)
        held += bytes_
    if found:
        yield found
