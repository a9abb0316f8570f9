"""Training budgets, and the append-only cost ledger that records what a method has spent.

Costs are U-Net FLOPs of all training passes, including those of teachers, counted by `torch.utils.flop_counter`. A
backward pass counts as two forward passes. This module does not import torch, so that tables can read ledgers quickly.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypedDict

from benchmark.errors import BudgetError, RecordError


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of one step of a phase, summed over all processes. A pass over a batch of n images counts as n passes."""

    forwards: int
    backwards: int
    flops: int


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A budget in FLOPs or in iterations. A step of any phase counts as one iteration, as in the paper."""

    flops: float | None = None
    iterations: int | None = None

    def __post_init__(self) -> None:
        given = [amount for amount in (self.flops, self.iterations) if amount is not None]
        if len(given) != 1 or given[0] < 0:
            raise BudgetError("A budget must be a number of FLOPs or of iterations, not both, and not negative.")

    def steps(self, cycle: Sequence[tuple[Cost, int]]) -> int:
        """Return the number of steps that the budget pays for when `cycle` is repeated.

        Args:
            cycle: (cost of a step, number of repeats) for each phase.

        Raises:
            BudgetError: the budget does not pay for the first step. The message states the smallest budget that does.
        """
        if self.iterations == 0:
            raise BudgetError(
                "Distillation takes all iterations of the budget, and none are left for the method itself: give more."
            )
        if self.iterations is not None:
            return self.iterations
        left = int(self.flops or 0)
        rounds, left = divmod(left, sum(cost.flops * repeats for cost, repeats in cycle))
        steps = rounds * sum(repeats for _, repeats in cycle)
        for cost, repeats in cycle:
            fitting = min(repeats, left // cost.flops)
            steps, left = steps + fitting, left - fitting * cost.flops
            if fitting < repeats:
                break
        if steps == 0:
            least = cycle[0][0].flops
            raise BudgetError(
                f"A budget of {self.flops:.3g} FLOPs does not pay for one step: give at least {least:.6g}."
            )
        return steps


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Cost of one phase of training, one row of the ledger."""

    phase: str
    iterations: int
    images: int
    """Number of training images drawn."""
    unet_forwards: int
    """Forward passes, counted per image, including those of teachers."""
    unet_backwards: int
    """Backward passes, counted per image."""
    flops: int
    wall_seconds: float
    device_seconds: float
    """Wall seconds times the number of devices (processes)."""
    peak_memory_bytes: int
    """Peak in the process that writes the entry: allocated memory on a CUDA device, resident memory otherwise."""


class LedgerRow(TypedDict):
    """The fields of an `Entry`, as stored in JSON."""

    phase: str
    iterations: int
    images: int
    unet_forwards: int
    unet_backwards: int
    flops: int
    wall_seconds: float
    device_seconds: float
    peak_memory_bytes: int


class Ledger:
    """Append-only list of cost entries, one per phase."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = list(entries)

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def total(self) -> Entry:
        """Return the sum over all entries, as an entry of phase "total"; peak memory is the maximum."""
        sums: dict[str, Any] = {
            field.name: sum(getattr(entry, field.name) for entry in self)
            for field in fields(Entry)
            if field.name not in ("phase", "peak_memory_bytes")
        }
        return Entry(phase="total", peak_memory_bytes=max((e.peak_memory_bytes for e in self), default=0), **sums)

    def to_json(self) -> list[LedgerRow]:
        """Return the entries as rows for JSON."""
        rows: Any = [asdict(entry) for entry in self]
        return list(rows)  # `LedgerRow` has the same fields as `Entry`

    @classmethod
    def from_json(cls, entries: Iterable[Mapping[str, Any]]) -> "Ledger":
        """Return the ledger that `to_json` wrote. Raises RecordError if the rows do not have the fields of `Entry`."""
        try:
            return cls(Entry(**entry) for entry in entries)
        except TypeError as error:
            raise RecordError(
                f"The stored cost ledger cannot be read ({error}): compute the artefact that contains it again."
            ) from error
