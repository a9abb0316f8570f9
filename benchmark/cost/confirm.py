"""Before hours are spent: what a run will take is said, and above an hour of a GPU it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmark import launcher
from benchmark.api.request import RunRequest
from benchmark.cost import devices
from benchmark.cost.estimate import Estimate, Speeds, estimate, figure
from benchmark.cost.testbed_facts import precision_of
from benchmark.errors import PalimpsestError, UsageError
from benchmark.store import disk, paths
from benchmark.testbeds import resolve
from benchmark.testbeds.stable_diffusion.captions import annotation_file

ASKED_ABOVE = 1.0
"""GPU-hours. Where there is no GPU, those that the slowest one of the table would take."""


def consent(requests: Sequence[RunRequest], yes: bool) -> None:
    """Say what these runs take and, if that is much, ask. UsageError where nobody can be asked, or the answer is no;
    DataError where there are no captioned pictures.

    Of runs that share a distillation each is told with it. What the store has already is counted as well, since nothing
    is loaded to compute its keys; a line says what is there by its records.
    """
    definition = resolve.definition_of(requests[0].testbed)
    if definition is not None:
        for side in ("train", "val"):
            annotation_file(definition.captions, side)  # what no download brings is missed before anyone is asked
    device, known = devices.here(requests[0].device)
    precision = precision_of(requests[0])
    speeds = Speeds.of_device(device, precision)
    try:
        found = [estimate(request, speeds) for request in requests]
    except PalimpsestError:
        return  # a stranger's testbed, of which nothing is known, or what the run refuses in its own words
    if not (runs := requests[0].runs).joinpath("artefacts").exists():  # else asked for when it is known what is missing
        disk.check({runs: max(one.disk for one in found)}, "This run")
    hours = sum(one.hours for one in found)
    if device.kind == "CPU":
        faster = Speeds.of_device(devices.SLOWEST, precision)
        much = sum(estimate(request, faster).hours for request in requests) > ASKED_ABOVE
    else:
        much = hours > ASKED_ABOVE
    if not much and requests[0].testbed == "mini":
        return
    told = _told(found, hours, speeds) + ("" if known else ", for want of this GPU in the table")
    if much and not yes and not _someone_watches():
        raise UsageError(f"This would take {told}: add --yes to begin, or see `bench estimate` for what it is made of.")
    if launcher.is_first():
        print(f"estimate  {told}", file=sys.stderr)
        for kept in dict.fromkeys(one.kept for one in found if one.kept):
            print(f"          {kept}", file=sys.stderr)
    if not much or yes:
        return
    print("Begin? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise UsageError("Not begun. A smaller --budget takes less; `bench estimate` shows what the time is spent on.")


def _told(found: Sequence[Estimate], hours: float, speeds: Speeds) -> str:
    memory, written = max(one.memory for one in found), sum(one.disk for one in found)
    there = paths.size(round(speeds.memory))
    more = f" (there are {there}: some is done in parts)" if memory > speeds.memory else ""
    if max(one.least for one in found) > speeds.memory:
        more = f", which is more than there is ({there}) even with one image at a time"
    held, kept = paths.size(round(memory)), paths.size(round(written))
    return f"about {figure(hours)} {speeds.unit}, {held} of memory{more} and {kept} of disk, at {speeds.told}"


def _someone_watches() -> bool:
    return launcher.processes() == 1 and sys.stdin.isatty() and sys.stderr.isatty()
