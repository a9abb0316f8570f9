"""Derives from a run's estimate what a job must ask a cluster for: a time limit and main memory."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.api.request import RunRequest
from benchmark.cost.estimate import Speeds, estimate, figure
from benchmark.cost.testbed_facts import can_estimate
from benchmark.errors import BudgetError, UsageError
from benchmark.store.paths import size

MARGIN, START_MINUTES, STEP_MINUTES = 2.0, 15, 10
"""A time limit is the estimated time times the margin, plus the minutes for loading and downloads, rounded up."""
GPU_JOB_MEMORY = 16
"""GB of main memory per GPU: libraries, weights while they are loaded, and pictures that wait for their scores."""
CPU_JOB_MEMORY, CPU_MEMORY_MARGIN = 2, 1.5
"""GB of main memory of libraries, and the factor of the estimated memory, of a job that runs on the CPU."""


@dataclass(frozen=True)
class Needs:
    """What a job needs."""

    hours: float
    """Estimated hours on one device, without any margin."""
    minutes: int
    """Time limit."""
    memory: int
    """GB of main memory."""
    basis: str
    """Where these are from, in one line."""


def needs(requests: Sequence[RunRequest], speeds: Speeds, gpus: int, shared: RunRequest | None = None) -> Needs | None:
    """Return what the job of a run needs; None if the run cannot be estimated, as on a testbed written in Python.

    Args:
        requests: the requests of the run.
        speeds: speeds of the device that the job runs on.
        gpus: number of GPUs that share the work equally; 0 for a job on the CPU.
        shared: a run that a different job executes first, and whose cost this job therefore does not have.

    Raises:
        PalimpsestError: the run is not possible, or needs more memory than the GPU has.
    """
    if not all(can_estimate(request.testbed) for request in requests):
        return None
    estimates = [estimate(request, speeds) for request in requests]
    least, memory = max(run.least for run in estimates), max(run.memory for run in estimates)
    if gpus and least > speeds.memory:
        device = speeds.source.partition(":")[0]
        raise UsageError(
            f"it needs {size(round(least))} of GPU memory for one image at a time, and {device} has "
            f"{size(round(speeds.memory))}: choose a different --hardware, or a testbed with smaller images."
        )
    total = sum(run.hours for run in estimates)
    own = total if shared is None else max(total - estimate(shared, speeds).hours, 0.0)
    minutes = 60 * MARGIN * own / max(gpus, 1) + START_MINUTES
    main_memory = GPU_JOB_MEMORY * gpus if gpus else math.ceil(CPU_MEMORY_MARGIN * memory / 1e9) + CPU_JOB_MEMORY
    without = "" if shared is None else " without the reference"
    basis = f"`bench estimate` says {figure(own)} {speeds.unit}{without} and {size(round(memory))} on {speeds.source}"
    return Needs(own, math.ceil(minutes / STEP_MINUTES) * STEP_MINUTES, main_memory, basis)


def explained(words: Sequence[str], error: Exception) -> UsageError | BudgetError:
    """Return the error of a run of a campaign, with the options of the run in front of its message."""
    kind = BudgetError if isinstance(error, BudgetError) else UsageError
    return kind(f"bench run {shlex.join(words)}: {error}")
