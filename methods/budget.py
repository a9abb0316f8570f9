"""Training budgets, and the append-only ledger of what a method has spent.

Costs are U-Net FLOPs of all training passes, teachers included, counted by `torch.utils.flop_counter`; a backward pass
counts as two forward passes. This module does not import torch, because tables read ledgers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypedDict

from benchmark.errors import BudgetError, RecordError


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of one step of a phase, summed over all processes. Passes are counted per image."""

    forwards: int
    backwards: int
    flops: int


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A budget in FLOPs or in iterations. Every kind of step counts as one iteration, as in the paper."""

    flops: float | None = None
    iterations: int | None = None

    def __post_init__(self) -> None:
        given = [amount for amount in (self.flops, self.iterations) if amount is not None]
        if len(given) != 1 or given[0] < 0:
            raise BudgetError("A budget is a number of FLOPs or of iterations, not both, and not below 0.")

    def steps(self, cycle: Sequence[tuple[Cost, int]]) -> int:
        """Return the number of steps that the budget pays for when `cycle` is repeated.

        Args:
            cycle: (cost of a step, number of repeats) for each phase.

        Raises:
            BudgetError: the budget does not pay for the first step; the message names the least budget.
        """
        if self.iterations == 0:
            raise BudgetError("The budget leaves not one iteration for the method's own stage: give more iterations.")
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
            raise BudgetError(f"A budget of {self.flops:.3g} FLOPs is less than one step: give at least {least:.6g}.")
        return steps


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The cost of one phase."""

    phase: str
    iterations: int
    images: int
    """Number of training images drawn."""
    unet_forwards: int
    """Forward passes, per image, teachers included."""
    unet_backwards: int
    """Backward passes, per image."""
    flops: int
    wall_seconds: float
    device_seconds: float
    """Wall seconds times the number of devices (processes)."""
    peak_memory_bytes: int
    """Maximum over the processes: allocated memory on a CUDA device, resident memory otherwise."""


class LedgerRow(TypedDict):
    """An `Entry` in JSON; the fields are those of `Entry`."""

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
    """Append-only list of entries."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = list(entries)

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def total(self) -> Entry:
        """Return the sum of all entries; peak memory is the maximum."""
        sums: dict[str, Any] = {
            field.name: sum(getattr(entry, field.name) for entry in self)
            for field in fields(Entry)
            if field.name not in ("phase", "peak_memory_bytes")
        }
        return Entry(phase="total", peak_memory_bytes=max((e.peak_memory_bytes for e in self), default=0), **sums)

    def to_json(self) -> list[LedgerRow]:
        """Return the entries as rows for JSON."""
        rows: Any = [asdict(entry) for entry in self]
        return list(rows)  # `LedgerRow` has the fields of `Entry`

    @classmethod
    def from_json(cls, entries: Iterable[Mapping[str, Any]]) -> "Ledger":
        """Read the output of `to_json`; raise `RecordError` for anything else."""
        try:
            return cls(Entry(**entry) for entry in entries)
        except TypeError as error:
            raise RecordError(f"This is not a ledger ({error}): make the artefact it belongs to again.") from error
