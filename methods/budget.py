"""What a method may spend, and the append-only account of what it did spend.

The unit is U-Net FLOPs of all training passes, teachers included, counted by `torch.utils.flop_counter`; a backward
pass is charged as two forward ones. No torch is imported here: ledgers are read where tables are made.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from benchmark.errors import BudgetError, RecordError


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one step of a phase costs, over all processes. Passes are counted per image."""

    forwards: int
    backwards: int
    flops: int


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Either FLOPs or iterations (every kind of step counts as one iteration, as in the paper)."""

    flops: float | None = None
    iterations: int | None = None

    def __post_init__(self) -> None:
        given = [amount for amount in (self.flops, self.iterations) if amount is not None]
        if len(given) != 1 or given[0] < 0:
            raise BudgetError("A budget is either FLOPs or iterations, one of them and not below 0.")

    def steps(self, cycle: Sequence[tuple[Cost, int]]) -> int:
        """Number of steps that fit when `cycle`, a list of (cost of a step, repeats), is walked again and again.

        Raises `BudgetError`, naming the least budget, when not even the first step fits.
        """
        if self.iterations == 0:
            raise BudgetError("The budget leaves not one iteration to a method that comes second: give more of them.")
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
    """What one phase spent."""

    phase: str
    iterations: int
    images: int
    """Training images drawn."""
    unet_forwards: int
    """Forward passes, per image, teachers included."""
    unet_backwards: int
    """Backward passes, per image."""
    flops: int
    wall_seconds: float
    device_seconds: float
    """Wall seconds times the devices (processes) held."""
    peak_memory_bytes: int
    """Largest of any process: allocated on a CUDA device, else resident."""


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
        """Sum of all entries; peak memory is the largest."""
        sums: dict[str, Any] = {
            field.name: sum(getattr(entry, field.name) for entry in self)
            for field in fields(Entry)
            if field.name not in ("phase", "peak_memory_bytes")
        }
        return Entry(phase="total", peak_memory_bytes=max((e.peak_memory_bytes for e in self), default=0), **sums)

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(entry) for entry in self]

    @classmethod
    def from_json(cls, entries: Iterable[dict[str, Any]]) -> "Ledger":
        """Read what `to_json` wrote; raise `RecordError` for anything else."""
        try:
            return cls(Entry(**entry) for entry in entries)
        except TypeError as error:
            raise RecordError(f"This is not a ledger ({error}): make the artefact it belongs to again.") from error
