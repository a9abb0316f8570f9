"""Before a run: its cost is printed, and a run of more than a GPU-hour starts only after a yes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from benchmark import launcher
from benchmark.api.request import RunRequest
from benchmark.cost import devices
from benchmark.cost.estimate import Estimate, Speeds, estimate, figure
from benchmark.cost.testbed_facts import precision_of
from benchmark.errors import PalimpsestError, UsageError
from benchmark.store import disk, paths
from benchmark.testbeds import resolve
from benchmark.testbeds.stable_diffusion.captions import annotation_file
from benchmark.testbeds.stable_diffusion.definition import experts_file

CONFIRMED_ABOVE = 1.0
"""GPU-hours. Where there is no GPU, those that the slowest one of the table would take."""


def consent(requests: Sequence[RunRequest], yes: bool) -> None:
    """Print what these runs take and, if that is much, ask for a yes. UsageError if nobody can answer, or the answer is
    no; DataError if the captioned pictures are missing.

    A distillation that several runs share is counted for each of them. Results that are in the store are counted too,
    since computing their keys would mean loading the models; a line says which of them have records.
    """
    definition = resolve.definition_of(requests[0].testbed)
    if definition is not None:
        for side in ("train", "val"):
            annotation_file(definition.captions, side)  # these are never downloaded: fail before the question
        if definition.experts:
            experts_file(definition.experts)
    device, is_listed = devices.here(requests[0].device)
    precision = precision_of(requests[0])
    speeds = Speeds.of_device(device, precision)
    try:
        estimates = [estimate(request, speeds) for request in requests]
    except PalimpsestError:
        return  # a plug-in's testbed of unknown cost, or a request that the run itself will refuse
    if not (runs := requests[0].runs).joinpath("artefacts").exists():  # else the run checks for what is missing
        disk.check({runs: max(run.disk for run in estimates)}, "This run")
    hours = sum(run.hours for run in estimates)
    if device.kind == "CPU":
        faster = Speeds.of_device(devices.SLOWEST, precision)
        is_long = sum(estimate(request, faster).hours for request in requests) > CONFIRMED_ABOVE
    else:
        is_long = hours > CONFIRMED_ABOVE
    if not is_long and requests[0].testbed == "mini":
        return
    summary = _summary(estimates, hours, speeds) + ("" if is_listed else ", for want of this GPU in the table")
    if is_long and not yes and not _is_interactive():
        raise UsageError(
            f"This would take {summary}: add --yes to begin, or see `bench estimate` for what it is made of."
        )
    if launcher.is_first():
        print(f"estimate  {summary}", file=sys.stderr)
        for stored in dict.fromkeys(run.kept for run in estimates if run.kept):
            print(f"          {stored}", file=sys.stderr)
    if not is_long or yes:
        return
    try:
        begins = typer.confirm("Begin?", err=True)
    except typer.Abort:  # the input ended without an answer
        begins = False
    if not begins:
        raise UsageError("Not begun. A smaller --budget takes less; `bench estimate` shows what the time is spent on.")


def _summary(estimates: Sequence[Estimate], hours: float, speeds: Speeds) -> str:
    memory, disk_bytes = max(run.memory for run in estimates), sum(run.disk for run in estimates)
    available = paths.size(round(speeds.memory))
    note = f" (there are {available}: some is done in parts)" if memory > speeds.memory else ""
    if max(run.least for run in estimates) > speeds.memory:
        note = f", which is more than there is ({available}) even with one image at a time"
    needs = f"{paths.size(round(memory))} of memory{note} and {paths.size(round(disk_bytes))} of disk"
    return f"about {figure(hours)} {speeds.unit}, {needs}, at {speeds.source}"


def _is_interactive() -> bool:
    return launcher.processes() == 1 and sys.stdin.isatty() and sys.stderr.isatty()
