"""Estimates hours, memory and disk of a run from its FLOPs and a device's speed, and lists every assumption."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import registry
from benchmark.api.request import RunRequest
from benchmark.cost.devices import UTILISATION
from benchmark.cost.testbed_facts import TestbedFacts, read_facts
from benchmark.cost.workload import KNOWN, TRAINED, Piece, pieces, plans
from benchmark.errors import DataError, PalimpsestError
from benchmark.hardware import Device
from benchmark.models.plan import chooses_names
from benchmark.pipeline import run_cache
from benchmark.records.record import read_records
from benchmark.store.paths import records_folder
from methods.base import Precision

if TYPE_CHECKING:
    from benchmark.models.plan import Plan
    from benchmark.records.record import Record


@dataclass(frozen=True)
class Speeds:
    """FLOP/s of a device, by kind of computation."""

    source: str
    """The device and the source of its speeds, for display."""
    usual: float
    """FLOP/s of all kinds that are not in `rehearsed`."""
    rehearsed: dict[str, float] = field(default_factory=dict)
    """FLOP/s of kinds of computation that differ from the default."""
    memory: float = float("inf")
    """Bytes of memory on the device; infinite if it is not known."""
    unit: str = "GPU-hours"

    def of(self, kind: str) -> float:
        """Return the FLOP/s of a kind of computation."""
        return self.rehearsed.get(kind, self.usual)

    @classmethod
    def of_device(cls, device: Device, precision: Precision = "fp32") -> Speeds:
        """Return the peak speeds in the device's data sheet, times the assumed utilisation."""
        best = getattr(device, precision)
        source = f"{device.name}: {best:g} TFLOP/s in {precision}, of which {UTILISATION:.0%} are reached"
        # Encoding, pruning and scoring stay in fp32. Decoding uses TF32, which has half the rate of bf16.
        exact = dict.fromkeys(("encode", "prune", "score"), device.fp32)
        best_of = {**exact, "decode": best / 2} if precision == "bf16" else {}
        if device.kind == "CPU":
            best_of = dict.fromkeys(best_of, device.fp32)
        rates = {kind: rate * 1e12 * UTILISATION for kind, rate in best_of.items()}
        return cls(source, best * 1e12 * UTILISATION, rates, device.memory * 1e9, f"{device.kind}-hours")

    @classmethod
    def of_rehearsal(cls, path: Path) -> Speeds:
        """Read the speeds that `bench rehearse --out` measured.

        Raises:
            DataError: the file was not written by `bench rehearse`, or every stage failed.
        """
        try:
            rehearsal = json.loads(path.read_text("utf-8-sig"))
            rates: dict[str, list[float]] = {}
            for row in rehearsal["rows"]:
                if row["error"] is None and row["flops"] and row["seconds"]:
                    speed = row["flops"] / row["seconds"]
                    if not 0 < speed < math.inf:
                        raise ValueError("a speed is not a positive number")
                    rates.setdefault(str(row["kind"]), []).append(speed)
            device = f"{rehearsal['device']}, measured by `bench rehearse` on {rehearsal['testbed']}"
        except OSError as error:
            raise DataError(
                f"The rehearsal {path} cannot be read ({error.strerror}): give the file of `bench rehearse --out`."
            ) from error
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise DataError(
                f"{path} was not written by `bench rehearse --out`: run `bench rehearse` again, or give its file."
            ) from error
        if not rates:
            raise DataError(
                f"No stage of the rehearsal {path} succeeded, so it has no speeds: run `bench rehearse` again."
            )
        mean = {kind: sum(kind_rates) / len(kind_rates) for kind, kind_rates in rates.items()}
        unit = "CPU-hours" if rehearsal["device"] == "cpu" else "GPU-hours"
        return cls(device, min(mean.values()), mean, unit=unit)


def figure(hours: float) -> str:
    """Format a number of hours for display: "0.036", "2.6", "12,700"."""
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


@dataclass(frozen=True)
class Row:
    """One part of a run, and its time."""

    piece: Piece
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of a run."""

    rows: list[Row]
    assumed: list[str]
    kept: str = ""
    """A clause for display that says what the store already has of the run; empty for nothing."""

    @property
    def hours(self) -> float:
        return sum(row.seconds for row in self.rows) / 3600

    @property
    def flops(self) -> float:
        return sum(row.piece.flops for row in self.rows)

    @property
    def memory(self) -> float:
        """Peak memory in bytes: the largest of all parts."""
        return max(row.piece.memory for row in self.rows)

    @property
    def least(self) -> float:
        """Peak memory in bytes if every part processes one image at a time."""
        return max(row.piece.least for row in self.rows)

    @property
    def disk(self) -> float:
        """Bytes that the run writes."""
        return sum(row.piece.disk for row in self.rows)


def estimate(request: RunRequest, speeds: Speeds) -> Estimate:
    """Estimate the cost of a run. Raises UsageError, DataError or BudgetError if the run is not possible."""
    facts = read_facts(request)
    work = pieces(request, facts, speeds.of("lower"))
    stored = in_store(request, facts, speeds.of("lower"))
    assumed = [speeds.source, stored or "nothing is in the store yet"]
    assumed.append("one device; loading, disk and network take no time")
    if request.macs < 1 and request.pruning != "none":
        if registry.is_file(request.pruning):
            registry.load("prunings", request.pruning)  # raises if the file does not define the pruning
        calibration = "" if request.pruning in KNOWN else f", and neither does the calibration of {request.pruning}"
        assumed.append(
            f"the pruned U-Net has {request.macs:.0%} of the base's MACs and weights; "
            f"removing weights takes no time{calibration}"
        )
    if facts.precision == "bf16":
        assumed.append(
            f"activations of training take {TRAINED['bf16']:.0%} of their fp32 memory, because norms stay in fp32"
        )
    assumed += facts.assumed
    rows = [Row(piece, piece.flops / speeds.of(piece.kind) + piece.seconds) for piece in work]
    return Estimate(rows, assumed, stored)


def in_store(request: RunRequest, facts: TestbedFacts, rate: float) -> str:
    """Return a clause for display that says what the runs folder already has of a run; empty for nothing.

    This is read from the records of earlier runs and the list of finished runs, because store keys cannot be computed
    without loading models.
    """
    if run_cache.find(request):
        return "the whole result is in the store: `bench run` returns it at once, and these are the costs from scratch"
    folder = records_folder(request.runs)
    try:
        records = read_records([folder])
    except PalimpsestError:
        return ""  # the commands that show records report broken ones
    names = [
        plan.name for plan in plans(request, facts, rate) if any(_is_of(record, plan, facts) for record in records)
    ]
    if not names:
        return ""
    models = " and ".join(dict.fromkeys(names))
    return f"{folder} has records of {models} with these settings: their stored results will be reused"


def _is_of(record: Record, plan: Plan, facts: TestbedFacts) -> bool:
    """Return whether a record is of the model that a plan trains."""
    variant = [] if record.variant == "default" else record.variant.split(",")
    targets = record.concept.get("targets") == list(plan.concept.targets) or not plan.method.erases
    settings_changed = {**plan.overrides, **({"kept_names": plan.kept_names} if chooses_names(plan) else {})}
    settings = (record.testbed, record.method, record.preset, record.pruning, record.macs, record.data, record.seed)
    return (
        settings == (facts.name, plan.name, plan.preset, plan.pruned.pruning, plan.pruned.macs, plan.data, plan.seed)
        and targets
        and record.recipe == plan.method.recipe
        and plan.budget.items() <= record.budget.items()
        and sorted(variant) == sorted(f"{key}={value}" for key, value in settings_changed.items())
    )
