"""The parts of `bench campaign` that treat each run as a job: --on, --status and --cancel."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import PalimpsestError

if TYPE_CHECKING:
    from benchmark.cost.estimate import Speeds
    from benchmark.cost.job_needs import Needs
    from benchmark.jobs.folder import Job
    from benchmark.jobs.plan import Plan, PlannedJob
    from benchmark.jobs.references import Line
    from benchmark.jobs.sbatch_options import Resources
    from benchmark.jobs.status import Status


@dataclass(frozen=True)
class Asked:
    """What the options of `bench campaign` ask for."""

    runs: Path
    folder: Path
    """The campaign's folder."""
    read_line: Callable[[tuple[str, ...]], Line]
    """Parses the options of a run."""
    is_slurm: bool
    lanes: int
    options: dict[str, str]
    """The options of sbatch from --job."""
    gpus: int | None
    """GPUs of each job; None: none on testbed mini, one on the others."""
    hardware: str
    rehearsal: Path | None
    dry_run: bool


def run_jobs(asked: Asked, plan: Sequence[Sequence[str]]) -> bool:
    """Write the scripts of a campaign, and submit or execute them; return whether all local jobs succeeded.

    Raises:
        PalimpsestError: a run is not possible, the runs folder cannot be shared, or Slurm refuses a job.
    """
    from benchmark.console import standard_error
    from benchmark.jobs import folder, local, slurm, submit
    from benchmark.jobs import plan as planning
    from benchmark.jobs.script import text
    from benchmark.jobs.status import statuses
    from benchmark.store import shared_folder

    if asked.is_slurm and not asked.dry_run:
        slurm.check_installed()
    shared_folder.check(asked.runs)
    campaign = planning.plan([asked.read_line(tuple(words)) for words in plan], asked.folder, asked.read_line)
    resources = {item.job: _resources(asked, item) for item in campaign.planned}
    _print_summary(asked, campaign, [needs for _, needs in resources.values()])
    live = {status.job for status in statuses([item.job for item in campaign.planned]) if status.is_live}
    for item in campaign.planned:
        if item.job not in live:
            script, (wanted, _) = item.job.script, resources[item.job]
            folder.write(
                item.job, text(item.job.words, item.job.name, script, asked.runs.absolute(), Path.cwd(), wanted)
            )
    if asked.dry_run:
        for item in campaign.planned:
            print(item.job.script)
        return True
    if asked.is_slurm:
        submit.submit(campaign.planned, print)
        return True
    console = standard_error()
    return not local.execute(campaign.planned, asked.lanes, lambda line: console.print(line, markup=False))


def _resources(asked: Asked, item: PlannedJob) -> tuple[Resources, Needs | None]:
    """Return what a job asks Slurm for, and its estimate."""
    from benchmark.cost import job_needs
    from benchmark.jobs.sbatch_options import Resources

    gpus = asked.gpus
    if gpus is None:
        gpus = 0 if all(request.testbed == "mini" for request in item.line.requests) else 1
    cpus = int(asked.options.get("cpus-per-task", 4 * gpus or 2))
    if not asked.is_slurm and "cpus-per-task" not in asked.options:
        cpus = max(1, (os.cpu_count() or 1) // asked.lanes)
    shared = None if item.reference is None else asked.read_line(item.reference.words).requests[0]
    try:
        needs = job_needs.needs(item.line.requests, _speeds(asked, item.line, gpus, cpus), gpus, shared)
    except PalimpsestError as error:
        raise job_needs.explained(item.job.words, error) from error
    if needs is None:
        return Resources(cpus, gpus, options=asked.options), None
    return Resources(cpus, gpus, needs.minutes, needs.memory, needs.basis, asked.options), needs


def _speeds(asked: Asked, line: Line, gpus: int, cpus: int) -> Speeds:
    from benchmark.cost import devices
    from benchmark.cost.estimate import Speeds
    from benchmark.cost.testbed_facts import can_estimate, precision_of
    from benchmark.hardware import cpu

    if asked.rehearsal is not None:
        return Speeds.of_rehearsal(asked.rehearsal)
    if asked.hardware:
        device = devices.named(asked.hardware)
    else:
        here = devices.here()[0]
        device = here if here.kind == "GPU" else devices.SLOWEST
    if not gpus:
        device = cpu(cpus)
    precision = precision_of(line.requests[0]) if can_estimate(line.requests[0].testbed) else "fp32"
    return Speeds.of_device(device, precision)


def _print_summary(asked: Asked, campaign: Plan, all_needs: Sequence[Needs | None]) -> None:
    from benchmark.cost.estimate import figure

    hours = sum(needs.hours for needs in all_needs if needs is not None)
    unknown = all_needs.count(None)
    parts = [f"{len(campaign.finished)} finished", f"{len(campaign.planned)} to do"]
    parts.append(f"about {figure(hours)} hours on one device each" if hours else "")
    parts.append(f"{unknown} of unknown cost: give --job time=... and --job mem=..." if unknown else "")
    print(f"{asked.folder}: {', '.join(filter(None, parts))}")


def status_of(asked: Asked, plan: Sequence[Sequence[str]]) -> list[Status]:
    """Return the states of the jobs of a campaign: its reference jobs and then its runs."""
    from benchmark.jobs.plan import is_finished
    from benchmark.jobs.status import statuses

    lines = {words: asked.read_line(words) for words in map(tuple, plan)}
    found = []
    for status in statuses(_jobs(asked, lines)):
        line = lines.get(status.job.words)
        if line is not None and status.state not in ("done", "waiting", "running") and is_finished(status.job, line):
            status = replace(status, state="done", details="")  # it was executed without a job
        found.append(status)
    return found


def cancel(asked: Asked, plan: Sequence[Sequence[str]]) -> list[Status]:
    """Cancel all jobs of a campaign, and return the states that they had."""
    from benchmark.jobs import submit

    return submit.cancel(_jobs(asked, {words: asked.read_line(words) for words in map(tuple, plan)}))


def _jobs(asked: Asked, lines: dict[tuple[str, ...], Line]) -> list[Job]:
    """Return the jobs of a campaign: the reference jobs that have a script, and one job per run."""
    from benchmark.jobs.folder import jobs_of
    from benchmark.jobs.stages import orders

    added, _ = orders(list(lines.values()))
    jobs = jobs_of(asked.folder, [*added, *lines])
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
