"""Submits and cancels the jobs of a campaign."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from benchmark.jobs import events, slurm
from benchmark.jobs.folder import Job
from benchmark.jobs.plan import PlannedJob
from benchmark.jobs.status import Status, statuses

_GRACE = 30.0
"""Seconds that a process gets to end after SIGTERM."""


def submit(planned: Sequence[PlannedJob], say: Callable[[str], None]) -> list[Job]:
    """Submit the jobs that are not waiting or running already, and return them.

    Their scripts must have been written. `say` is called with one line per job.

    Raises:
        UsageError: Slurm refuses a job; the jobs before it remain submitted.
    """
    live = {status.job: status.identifier for status in statuses([item.job for item in planned]) if status.is_live}
    submitted = []
    for item in planned:
        if item.job in live:
            say(f"unchanged {live[item.job]} {item.job.script.name}")
            continue
        success, end = (
            [live[before]] if before in live and live[before].isdecimal() else []
            for before in (item.reference, item.first)
        )
        live[item.job] = slurm.submit(item.job.script, success, end)
        if all(event.job != live[item.job] for event in events.read(item.job.state)):  # otherwise it runs already
            events.add(item.job.state, "submitted", live[item.job])
        after = f" after {', '.join(success + end)}" if success + end else ""
        say(f"submitted {live[item.job]} {item.job.script.name}{after}")
        submitted.append(item.job)
    return submitted


def cancel(jobs: Sequence[Job]) -> list[Status]:
    """Cancel all jobs that are waiting or running, and return the states that they had.

    Processes of a different machine are left alone.
    """
    live = [status for status in statuses(jobs) if status.is_live]
    if ids := [status.identifier for status in live if status.identifier.isdecimal()]:
        slurm.cancel(ids)
    cancelled = []
    starters = {status.process for status in live if status.process and status.state == "waiting"}
    for process in starters:  # first, so that these start no further jobs
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)  # processes that a script starts in the background ignore SIGINT
    for status in live:
        if status.process == 0:
            continue
        if status.process is not None and status.state == "running":
            _end(status.process)
        events.add(status.job.state, "cancelled", status.identifier)
        cancelled.append(status)
    return cancelled


def _end(process: int) -> None:
    """End a script that runs on this machine, and its children: SIGTERM, and after `_GRACE` seconds SIGKILL."""
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        while time.monotonic() < deadline:
            os.killpg(process, 0)  # raises if no process is left
            time.sleep(0.1)
        os.killpg(process, signal.SIGKILL)
