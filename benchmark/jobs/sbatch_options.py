"""What a job asks Slurm for: the options of sbatch, from the estimate and from `--job`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import UsageError

WARNING = 120
"""Seconds before the time limit at which Slurm tells the job to stop; a quarter of a shorter limit."""
OWN = (
    "array", "begin", "chdir", "dependency", "error", "export", "job-name", "kill-on-invalid-dep", "no-requeue",
    "nodes", "ntasks", "ntasks-per-node", "open-mode", "output", "parsable", "requeue", "signal", "test-only", "wait",
    "wrap",
)  # fmt: skip
"""Options of sbatch that `--job` must not set, because `bench campaign` or the script depends on them."""
_GPUS = ("gres", "gpus-per-node", "gpus-per-task", "tres-per-job")
_MEMORY = ("mem-per-cpu", "mem-per-gpu")


@dataclass(frozen=True)
class Resources:
    """What a job asks Slurm for."""

    cpus: int = 2
    gpus: int = 0
    minutes: int | None = None
    """Time limit; None for the cluster's default."""
    memory: int | None = None
    """GB of main memory; None for the cluster's default."""
    basis: str = "the cost of this run is not known"
    """Where time and memory are from, for a comment in the script."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further options of sbatch, which replace those above: option -> value."""


def parse_options(pairs: Sequence[str]) -> dict[str, str]:
    """Parse `--job` options: `["partition=gpu", "time=8:00:00"]` -> `{"partition": "gpu", "time": "8:00:00"}`.

    Raises:
        UsageError: a pair is not KEY=VALUE, is given twice, or sets an option that the scripts need.
    """
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key, value = key.strip().removeprefix("--"), value.strip()
        if not equals or not re.fullmatch(r"[a-z][a-z-]*", key) or not value or "\n" in value:
            raise UsageError(
                f"--job takes an option of sbatch as key=value, such as --job partition=gpu; '{pair}' is not."
            )
        if key in options:
            raise UsageError(f"--job gives '{key}' twice: give it once.")
        if key in OWN:
            raise UsageError(
                f"--job {key} cannot be set, because the scripts of a campaign depend on it: leave it out."
            )
        if key == "gpus":
            raise UsageError(f"--job gpus={value} would not start a process per GPU: use --gpus {value}.")
        options[key] = value
    if "cpus-per-task" in options and not re.fullmatch(r"[1-9]\d{0,3}", options["cpus-per-task"]):
        raise UsageError(f"--job cpus-per-task must be a number of CPU cores; '{options['cpus-per-task']}' is not.")
    if "time" in options:
        seconds_of(options["time"])
    return options


def seconds_of(time: str) -> float:
    """Return a time limit of Slurm in seconds; infinite for UNLIMITED.

    Raises:
        UsageError: it has none of the forms 90, 90:00, 1:30:00, 2-0, 2-0:30 and 2-0:30:00.
    """
    if time.upper() in ("UNLIMITED", "INFINITE"):
        return math.inf
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time)
    if not match:
        raise UsageError(f"--job time must be a time such as 90 (minutes), 12:00:00 or 2-00:00:00; '{time}' is not.")
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part]
    if days is not None:
        numbers = [*numbers, 0, 0][:3]
    elif len(numbers) < 3:  # minutes, or minutes:seconds
        numbers = [0, *numbers, 0][:3]
    hours, minutes, seconds = numbers
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def directives(name: str, log: Path, resources: Resources) -> list[str]:
    """Return the options of sbatch in the order in which the script lists them.

    Raises:
        UsageError: Slurm cannot write to a file with the path `log`.
    """
    if re.search(r'[%\\"\n]', str(log)):
        raise UsageError(f'Slurm cannot write its log to {log}: choose --runs without %, \\ and " in its path.')
    given, options = resources.options, {"cpus-per-task": str(resources.cpus)}
    if resources.gpus and not any(key in given for key in _GPUS):
        options["gpus"] = str(resources.gpus)
    if resources.minutes is not None:
        hours, minutes = divmod(resources.minutes, 60)
        options["time"] = f"{hours // 24}-{hours % 24:02d}:{minutes:02d}:00"
    if resources.memory is not None and not any(key in given for key in _MEMORY):
        options["mem"] = f"{resources.memory}G"
    options |= given
    limit = seconds_of(options["time"]) if "time" in options else math.inf
    fixed = [f"job-name={name}", f'output="{log}"', "open-mode=append", "nodes=1", "ntasks=1", "requeue"]
    fixed += [f"signal=B:USR1@{round(min(WARNING, limit / 4))}", "kill-on-invalid-dep=yes"]
    return [*fixed, *(f"{key}={value}" for key, value in options.items())]
