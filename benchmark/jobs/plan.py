"""Plans the jobs of a campaign: which runs are finished, and what each of the others must wait for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from benchmark.jobs import events
from benchmark.jobs.folder import Job, jobs_of
from benchmark.jobs.references import Line
from benchmark.jobs.stages import Order, orders
from benchmark.pipeline import run_cache


@dataclass(frozen=True)
class PlannedJob:
    """A job that is not finished, and the jobs that it waits for, which are not finished either."""

    job: Job
    line: Line
    reference: Job | None = None
    """The job that must succeed first."""
    first: Job | None = None
    """The job that must have ended first."""


@dataclass(frozen=True)
class Plan:
    """The jobs of a campaign."""

    finished: list[Job]
    planned: list[PlannedJob]
    """In an order in which each job comes after those that it waits for."""


def plan(lines: Sequence[Line], folder: Path, read_line: Callable[[tuple[str, ...]], Line]) -> Plan:
    """Return the jobs of a campaign.

    Args:
        lines: the runs of the campaign's file.
        folder: the campaign's folder.
        read_line: parses the options of a run.
    """
    jobs = dict(zip((line.words for line in lines), jobs_of(folder, [line.words for line in lines]), strict=True))
    left = [line for line in lines if not is_finished(jobs[line.words], line)]
    added, order_of = orders(left, [line for line in lines if line not in left])
    lines_left = {words: read_line(words) for words in added}
    # Reference jobs come first, and therefore get the lowest numbers of a new campaign.
    every_run = [*added, *(line.words for line in lines)]
    jobs = dict(zip(every_run, jobs_of(folder, every_run), strict=True))
    lines_left = {words: line for words, line in lines_left.items() if not is_finished(jobs[words], line)}
    lines_left |= {line.words: line for line in left}
    graph = {
        words: {before for before in (order.reference, order.first) if before in lines_left}
        for words in lines_left
        for order in [order_of.get(words, Order())]
    }
    planned = []
    for words in TopologicalSorter(graph).static_order():
        order = order_of.get(words, Order())
        reference, first = (
            jobs[before] if before is not None and before in lines_left else None
            for before in (order.reference, order.first)
        )
        planned.append(PlannedJob(jobs[words], lines_left[words], reference, first))
    return Plan([jobs[line.words] for line in lines if line.words not in lines_left], planned)


def is_finished(job: Job, line: Line) -> bool:
    """Return whether a run has its records, and nothing that could change them has changed.

    The receipts of runs tell. Runs that have none, such as those on several GPUs or with files of the user, count as
    finished if their job has succeeded.
    """
    if all(run_cache.find(request) for request in line.requests):
        return True
    history = events.read(job.state)
    has_succeeded = bool(history) and history[-1].name == "done"
    return has_succeeded and (job.uses_launcher or not all(map(run_cache.keeps_receipts, line.requests)))
