"""`bench campaign --status` and `--cancel`: the states of a campaign's jobs, and their end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.cli.campaign_jobs import JobOptions
    from benchmark.jobs.folder import Job
    from benchmark.jobs.references import Line
    from benchmark.jobs.status import Status


def status_of(chosen: JobOptions, plan: Sequence[Sequence[str]]) -> list[Status]:
    """Return the states of the jobs of a campaign: its reference jobs and then its runs."""
    from benchmark.jobs.plan import is_finished
    from benchmark.jobs.status import statuses

    lines = {words: chosen.read_line(words) for words in map(tuple, plan)}
    results = []
    for status in statuses(_jobs(chosen, lines)):
        line = lines.get(status.job.words)
        if line is not None and status.state not in ("done", "waiting", "running") and is_finished(status.job, line):
            status = replace(status, state="done", details="")  # it was executed without a job
        results.append(status)
    return results


def cancel(chosen: JobOptions, plan: Sequence[Sequence[str]]) -> list[Status]:
    """Cancel all jobs of a campaign, and return the states that they had."""
    from benchmark.jobs import submit

    return submit.cancel(_jobs(chosen, {words: chosen.read_line(words) for words in map(tuple, plan)}))


def _jobs(chosen: JobOptions, lines: dict[tuple[str, ...], Line]) -> list[Job]:
    """Return the jobs of a campaign: the reference jobs that have a script, and one job per run."""
    from benchmark.jobs.folder import jobs_of
    from benchmark.jobs.stages import orders

    added, _ = orders(list(lines.values()))
    jobs = jobs_of(chosen.folder, [*added, *lines])
    return [job for job in jobs if job.words in lines or job.script.exists()]


def print_statuses(statuses: Sequence[Status], as_json: bool) -> None:
    """Print the states of jobs as a table, or as JSON: a list of objects, one per job."""
    if as_json:
        rows = [
            {
                "number": status.job.number,
                "run": list(status.job.words),
                "state": status.state,
                "job": status.identifier,
                "hours": round(status.hours, 4),
                "details": status.details,
                "script": str(status.job.script),
                "log": str(status.job.log),
            }
            for status in statuses
        ]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    width = max(len(status.job.script.stem) for status in statuses)
    job_width = max(3, *(len(status.identifier) for status in statuses))
    print(f"{'run':{width}}  {'state':13}  {'job':{job_width}}  {'hours':>6}  last line")
    for status in statuses:
        line = f"{status.job.script.stem:{width}}  {status.state:13}  {status.identifier:{job_width}}"
        print(f"{line}  {status.hours:6.2f}  {status.details}".rstrip())
    counts = Counter(status.state for status in statuses)
    total = sum(status.hours for status in statuses)
    print(", ".join(f"{count} {state}" for state, count in counts.items()) + f", {total:.2f} hours spent")
