"""Tells the states of a campaign's jobs from their histories, Slurm's queue and the processes of this machine."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.jobs import events, slurm
from benchmark.jobs.events import Event
from benchmark.jobs.folder import Job
from benchmark.store import durable

State = Literal["not submitted", "waiting", "running", "done", "failed", "cancelled"]
LOCAL = "local-"
"""Begin of the id of a job that is a process: `local-<host>-<process id>`."""
SILENT = 600.0
"""Seconds without a new line in its log after which a process of a different machine counts as ended."""


@dataclass(frozen=True)
class Status:
    """The state of a job."""

    job: Job
    state: State
    identifier: str = ""
    """Id of the Slurm job, or `local-<host>-<process id>`; empty if it is not submitted."""
    hours: float = 0.0
    """Hours that all its attempts took."""
    details: str = ""
    """Why it waits or failed: Slurm's reason, or the last line of the log."""
    process: int | None = None
    """For a job that is a process: the process that executes it or will start it; 0 on a different machine."""

    @property
    def is_live(self) -> bool:
        """Whether it is waiting or running."""
        return self.state in ("waiting", "running")


def statuses(jobs: Sequence[Job]) -> list[Status]:
    """Return the states of jobs.

    Raises:
        UsageError: Slurm has to be asked, and does not answer.
    """
    histories = [events.read(job.state) for job in jobs]
    latest = {history[-1].job for history in histories if history and history[-1].name not in ("done", "failed")}
    queue = slurm.queue(identifier for identifier in latest if identifier.isdecimal())
    return [_status(job, history, queue) for job, history in zip(jobs, histories, strict=True)]


def _status(job: Job, history: Sequence[Event], queue: Mapping[str, slurm.Queued]) -> Status:
    if not history:
        return Status(job, "not submitted")
    last = history[-1]
    queued = queue.get(last.job)
    if queued is not None and queued.name != job.name:  # a new controller counts ids from 1 again
        queued = None
    is_local = last.job.startswith(LOCAL)
    process = _process(job, last) if is_local else None
    if last.name == "done":
        return Status(job, "done", last.job, events.hours(history, last.time))
    if last.name == "failed":
        code, _, line = last.details.partition(" ")
        return Status(job, "failed", last.job, events.hours(history, last.time), line or f"exit code {code}")
    if _is_cancelled(history):
        return Status(job, "cancelled", last.job, events.hours(history, last.time))
    if queued is not None and queued.waits:
        reason = "" if queued.reason == "None" else queued.reason
        return Status(job, "waiting", last.job, events.hours(history, _time_of(job.log)), reason)
    if process is not None and last.name == "submitted":
        return Status(job, "waiting", last.job, events.hours(history, last.time), process=process)
    if process is not None or queued is not None:
        return Status(job, "running", last.job, events.hours(history, time.time()), events.last_line(job.log), process)
    hours = events.hours(history, max(last.time, _time_of(job.log)))
    if is_local and last.name == "submitted":  # the command that would have started it has ended
        return Status(job, "not submitted", "", hours)
    return Status(job, "failed", last.job, hours, _why_ended(job, last))


def _process(job: Job, last: Event) -> int | None:
    """Return the process of this machine that executes a job, or will start it; None if it has ended.

    It is 0 for a process of a different machine, which counts as running if the job's log or history is recent.

    Args:
        job: the job.
        last: the last event of its history.
    """
    match = re.fullmatch(rf"{LOCAL}(.*)-(\d+)", last.job)
    if match is None or last.name not in ("submitted", "started"):
        return None
    if match[1] != platform.node():
        return 0 if time.time() - max(last.time, _time_of(job.log)) < SILENT else None
    number = int(match[2])
    if not durable.alive(number):
        return None
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace")
    except OSError:  # not Linux
        return number
    # Another program may have got the number of a process that has ended.
    return number if (job.script.name if last.name == "started" else "campaign") in words else None


def _is_cancelled(history: Sequence[Event]) -> bool:
    """Return whether the last attempt was cancelled. Its script can write `stopped` before or after that."""
    for event in reversed(history):
        if event.name == "cancelled":
            return True
        if event.name != "stopped":
            return False
    return False


def _why_ended(job: Job, last: Event) -> str:
    """Return why a job ended that could not write its end itself."""
    ending = slurm.ending(last.job) if last.job.isdecimal() else ""
    line = events.last_line(job.log) if last.name != "submitted" else ""
    if last.name == "submitted":
        return f"Slurm ended the job before it started{f': {ending}' if ending else ''}"
    reason = ending or ("stopped by SIGTERM" if last.name == "stopped" else "killed")
    return f"{reason}: {line}" if line else reason


def _time_of(path: Path) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
