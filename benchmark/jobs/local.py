"""Executes the scripts of a campaign as processes of this machine."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress

from benchmark.jobs import events
from benchmark.jobs.folder import Job
from benchmark.jobs.plan import PlannedJob
from benchmark.jobs.status import LOCAL, statuses


def execute(planned: Sequence[PlannedJob], lanes: int, say: Callable[[str], None]) -> list[Job]:
    """Execute the scripts of jobs as processes of this machine, `lanes` at a time, and return the jobs that failed.

    A job whose reference failed is not started and counts as failed. Jobs that already run are left alone. `say` is
    called with one line per job, when it ends.
    """
    states = {status.job: status for status in statuses([item.job for item in planned])}
    running_before = {job for job, status in states.items() if status.is_live}
    for job in running_before:
        say(f"unchanged {states[job].identifier} {job.script.name}")
    left = [item for item in planned if item.job not in running_before]
    for item in left:
        events.add(item.job.state, "submitted", f"{LOCAL}{platform.node()}-{os.getpid()}")
    ended: dict[Job, bool] = {}
    processes: dict[Job, subprocess.Popen[bytes]] = {}
    futures: dict[Future[int], Job] = {}
    with ThreadPoolExecutor(lanes) as pool:
        try:
            while left or futures:
                for item in list(left):
                    before = [job for job in (item.reference, item.first) if job is not None]
                    if any(job not in ended and job not in running_before for job in before):
                        continue
                    left.remove(item)
                    if item.reference is not None and not ended.get(item.reference, True):
                        ended[item.job] = False
                        say(f"✗ {item.job.script.name}: not started, because {item.reference.script.name} failed")
                    else:
                        futures[pool.submit(_execute, item.job, processes)] = item.job
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    job = futures.pop(future)
                    ended[job] = future.result() == 0
                    say(f"{'✓' if ended[job] else '✗'} {job.script.name}{'' if ended[job] else _failure(job)}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(processes.values()):
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGTERM)
            raise
    return [job for job, has_succeeded in ended.items() if not has_succeeded]


def _execute(job: Job, processes: dict[Job, subprocess.Popen[bytes]]) -> int:
    """Execute a script in a process group of its own, and return its exit code."""
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_JOB_ID"}
    with subprocess.Popen(
        ["bash", str(job.script)], env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    ) as process:
        processes[job] = process
        return process.wait()


def _failure(job: Job) -> str:
    line = events.last_line(job.log)
    return f": {line}" if line else ""
