"""Prints the estimated cost of runs before they start, and asks for confirmation above one GPU-hour."""

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
"""GPU-hours. On a machine without a GPU, they are estimated for the slowest GPU of `devices.GPUS`."""


def consent(requests: Sequence[RunRequest], yes: bool) -> None:
    """Print the estimated cost of runs, and ask for confirmation if it is above `CONFIRMED_ABOVE`.

    A distillation that several runs share is counted for each of them. Results in the store are counted too, because
    their keys cannot be computed without loading the models; a printed line says which models have records.

    Args:
        requests: the runs.
        yes: whether the user has confirmed already, by --yes.

    Raises:
        UsageError: the answer is no, or confirmation is needed and the process is not interactive.
        DataError: the captioned images are missing.
        StoreError: the disk has too little free space.
    """
    definition = resolve.definition_of(requests[0].testbed)
    if definition is not None:
        for split in ("train", "val"):
            annotation_file(definition.captions, split)  # fail before asking, because these are never downloaded
        if definition.experts:
            experts_file(definition.experts)
    device, is_listed = devices.here(requests[0].device)
    precision = precision_of(requests[0])
    speeds = Speeds.of_device(device, precision)
    try:
        estimates = [estimate(request, speeds) for request in requests]
    except PalimpsestError:
        return  # a plug-in testbed of unknown cost, or a request that the run itself will refuse
    if not (runs := requests[0].runs).joinpath("artefacts").exists():  # otherwise the run checks what is still needed
        disk.check({runs: max(run.disk for run in estimates)}, "This run")
    hours = sum(run.hours for run in estimates)
    if device.kind == "CPU":
        faster = Speeds.of_device(devices.SLOWEST, precision)
        is_long = sum(estimate(request, faster).hours for request in requests) > CONFIRMED_ABOVE
    else:
        is_long = hours > CONFIRMED_ABOVE
    if not is_long and requests[0].testbed == "mini":
        return
    summary = _summary(estimates, hours, speeds)
    if not is_listed:
        summary += " (the slowest known GPU, because the speed of this one is not known)"
    if is_long and not yes and not _is_interactive():
        raise UsageError(
            f"This would take {summary}: add --yes to start, or run `bench estimate` to see the cost of each part."
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
        raise UsageError(
            "Not started: use a smaller --budget to reduce the cost, or run `bench estimate` to see the cost of each "
            "part."
        )


def _summary(estimates: Sequence[Estimate], hours: float, speeds: Speeds) -> str:
    memory, disk_bytes = max(run.memory for run in estimates), sum(run.disk for run in estimates)
    available = paths.size(round(speeds.memory))
    note = f" (the device has {available}: batches will be split)" if memory > speeds.memory else ""
    if max(run.least for run in estimates) > speeds.memory:
        note = f" (the device has {available}, which is too little even for one image at a time)"
    needs = f"{paths.size(round(memory))} of memory{note} and {paths.size(round(disk_bytes))} of disk"
    return f"about {figure(hours)} {speeds.unit}, {needs}, at {speeds.source}"


def _is_interactive() -> bool:
    return launcher.processes() == 1 and sys.stdin.isatty() and sys.stderr.isatty()
