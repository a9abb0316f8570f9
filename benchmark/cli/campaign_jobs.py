"""`bench campaign --on`: writes the scripts of a campaign's jobs, and submits or executes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import PalimpsestError, UsageError

if TYPE_CHECKING:
    from benchmark.cost.estimate import Speeds
    from benchmark.cost.job_needs import Needs
    from benchmark.jobs.plan import Plan, PlannedJob
    from benchmark.jobs.references import Line
    from benchmark.jobs.sbatch_options import Resources


@dataclass(frozen=True)
class JobOptions:
    """The options of `bench campaign` that concern jobs."""

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


def run_jobs(chosen: JobOptions, plan: Sequence[Sequence[str]]) -> bool:
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

    if chosen.is_slurm and not chosen.dry_run:
        slurm.check_installed()
    shared_folder.check(chosen.runs)
    campaign = planning.plan([chosen.read_line(tuple(words)) for words in plan], chosen.folder, chosen.read_line)
    resources = {item.job: _resources(chosen, item) for item in campaign.planned}
    _print_summary(chosen, campaign, [needs for _, needs in resources.values()])
    live = {status.job for status in statuses([item.job for item in campaign.planned]) if status.is_live}
    for item in campaign.planned:
        if item.job not in live:
            script, (wanted, _) = item.job.script, resources[item.job]
            folder.write(
                item.job, text(item.job.words, item.job.name, script, chosen.runs.absolute(), Path.cwd(), wanted)
            )
    if chosen.dry_run:
        for item in campaign.planned:
            print(item.job.script)
        return True
    if chosen.is_slurm:
        submit.submit(campaign.planned, print)
        return True
    console = standard_error()
    return not local.execute(campaign.planned, chosen.lanes, lambda line: console.print(line, markup=False))


def _resources(chosen: JobOptions, item: PlannedJob) -> tuple[Resources, Needs | None]:
    """Return what a job asks Slurm for, and its estimate."""
    from benchmark.cost import job_needs
    from benchmark.jobs.sbatch_options import Resources

    on_cpu = chosen.hardware.casefold() == "cpu"
    if on_cpu and chosen.gpus:
        raise UsageError(f"--hardware cpu has no GPU, and --gpus asks for {chosen.gpus}: leave one of them out.")
    gpus = chosen.gpus
    if gpus is None:
        gpus = 0 if on_cpu or all(request.testbed == "mini" for request in item.line.requests) else 1
    cpus = int(chosen.options.get("cpus-per-task", 4 * gpus or 2))
    if not chosen.is_slurm and "cpus-per-task" not in chosen.options:
        cpus = max(1, (os.cpu_count() or 1) // chosen.lanes)
    shared = None if item.reference is None else chosen.read_line(item.reference.words).requests[0]
    try:
        needs = job_needs.needs(item.line.requests, _speeds(chosen, item.line, gpus, cpus), gpus, shared)
    except PalimpsestError as error:
        raise job_needs.explained(item.job.words, error) from error
    if needs is None:
        return Resources(cpus, gpus, options=chosen.options), None
    return Resources(cpus, gpus, needs.minutes, needs.memory, needs.basis, chosen.options), needs


def _speeds(chosen: JobOptions, line: Line, gpus: int, cpus: int) -> Speeds:
    from benchmark.cost import devices
    from benchmark.cost.estimate import Speeds
    from benchmark.cost.testbed_facts import can_estimate, precision_of
    from benchmark.hardware import cpu

    if chosen.rehearsal is not None:
        return Speeds.of_rehearsal(chosen.rehearsal)
    if chosen.hardware:
        device = devices.named(chosen.hardware)
    else:
        here = devices.here()[0]
        device = here if here.kind == "GPU" else devices.SLOWEST
    if not gpus:
        device = cpu(cpus)
    precision = precision_of(line.requests[0]) if can_estimate(line.requests[0].testbed) else "fp32"
    return Speeds.of_device(device, precision)


def _print_summary(chosen: JobOptions, campaign: Plan, all_needs: Sequence[Needs | None]) -> None:
    from benchmark.cost.estimate import figure

    hours = sum(needs.hours for needs in all_needs if needs is not None)
    unknown = all_needs.count(None)
    parts = [f"{len(campaign.finished)} finished", f"{len(campaign.planned)} to do"]
    parts.append(f"about {figure(hours)} hours in total, on one device each" if hours else "")
    parts.append(f"{unknown} of unknown cost: give --job time=... and --job mem=..." if unknown else "")
    print(f"{chosen.folder}: {', '.join(filter(None, parts))}")
