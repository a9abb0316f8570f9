"""Full and read-only disks, a clock that was set back, two runs at once, a moved runs folder, a lost process of three.

A disk is full in two ways: a tmpfs of a few bytes more than the command's files (Linux and root's rights, else these
trials are skipped; the check for 300 MB before a run is switched off there), and an error that all functions which
change files raise from a random call on. A read-only disk is such an error too. The clock is that of Python's
functions; files made before get times in the future instead.
The three processes are started with the variables that `accelerate launch` and torchrun set, and talk through gloo;
the launcher itself is not part of these trials (test_run_distributed.py has it), so the trial ends the others.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from forked import Ended, Fault, Running, run
from reliability import World, left_over
from trials import Trial, recorded

from benchmark.records.record import read_records

FILE = Path(__file__).name
pytestmark = pytest.mark.timeout(3600)  # the first trial makes what others start from
NAMES = ("run", "eval", "prune aptp", "run, from an empty folder")
WRITING = (*NAMES, "export", "report")


def refused_or_right(world: World, name: str, folder: Path, ended: Ended) -> None:
    """Fail unless the command gave one sentence, or did everything; then it must do everything without the fault."""
    assert ended.code in (0, 2), (ended.code, ended.err[-3000:])
    assert "Traceback" not in ended.err, ended.err[-3000:]
    if ended.code == 2:
        assert len([line for line in ended.err.splitlines() if line.startswith("error: ")]) == 1, ended.err[-3000:]
    if name == "export" and (folder / "out").exists():
        return
    world.check(name, folder, run(world.job(name, folder)))


def full(world: World, folder: Path, rng: random.Random, facts: dict[str, Any], names: Sequence[str]) -> None:
    """A disk that is really full, or whose files cannot be written from some call on."""
    kind = rng.choice(("full", "full", "no space", "read-only"))
    if kind == "full" and (os.name != "posix" or os.geteuid() != 0):
        kind = "no space"  # a disk of its own needs the rights of root
    name = rng.choice(names[:3] if kind == "full" else names)
    facts["command"] = name
    world.copy(name, folder)
    if kind == "full":
        grown = size(world.finished(name)) - size(folder)
        free = int(grown * rng.uniform(0.02, 0.95))
        facts["what"] = f"a disk with {free // 1024} KiB left of {grown // 1024} KiB"
        fault = Fault(memory=str(free))
    else:
        events = world.undisturbed(name)[1].events
        event, error = rng.randint(1, events), errno.ENOSPC if kind == "no space" else errno.EROFS
        facts["what"] = f"{errno.errorcode[error]} from call {event} of {events} on"
        fault = Fault(event=event, error=error)
    refused_or_right(world, name, folder, run(world.job(name, folder, fault)))


def size(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in (folder / "runs").rglob("*"))


def killed(world: World, name: str, folder: Path, rng: random.Random, facts: dict[str, Any]) -> None:
    """Leave in `folder` what the command leaves when it is killed at a random call."""
    events = world.undisturbed(name)[1].events
    world.copy(name, folder)
    event = rng.randint(1, events)
    facts["what"] = f"SIGKILL at call {event} of {events}"
    assert run(world.job(name, folder, Fault(event=event))).code == -signal.SIGKILL


def clock(world: World, folder: Path, rng: random.Random, facts: dict[str, Any], names: Sequence[str]) -> None:
    """The clock is set back by an hour to ten years between a killed command and its repetition."""
    name = facts["command"] = rng.choice(names)
    killed(world, name, folder, rng, facts)
    seconds = 3600 * 10 ** rng.uniform(0, 4.9)
    facts["what"] += f", then the clock {seconds / 3600:.0f} hours back"
    for path in (folder / "runs").rglob("*"):
        if not path.is_symlink():
            future = path.stat().st_mtime + seconds
            os.utime(path, (future, future))
    world.check(name, folder, run(world.job(name, folder, Fault(clock=seconds))))


def moved(world: World, folder: Path, rng: random.Random, facts: dict[str, Any], names: Sequence[str]) -> None:
    """The runs folder is moved to another path between a killed command and its repetition."""
    name = facts["command"] = rng.choice(names)
    killed(world, name, folder, rng, facts)
    facts["what"] += ", then moved"
    elsewhere = folder.with_name("elsewhere") / "deep"
    elsewhere.parent.mkdir()
    folder.rename(elsewhere)
    world.check(name, elsewhere, run(world.job(name, elsewhere)))


def together(world: World, folder: Path, rng: random.Random, facts: dict[str, Any], names: Sequence[str]) -> None:
    """Two identical commands on one runs folder, the second a moment later."""
    name = facts["command"] = rng.choice(names)
    world.copy(name, folder)
    later = rng.choice((0.0, rng.uniform(0, 3)))
    facts["what"] = f"two at once, the second {later:.1f} s later"
    first = Running(world.job(name, folder, name="first"))
    time.sleep(later)
    second = Running(world.job(name, folder, name="second"))
    ended = [first.wait(), second.wait()]
    for each_end in ended:
        assert each_end.code == 0, each_end.err[-6000:]
    for each_end in ended:
        world.check(name, folder, each_end)


def three(world: World, folder: Path, rng: random.Random, facts: dict[str, Any], names: Sequence[str]) -> None:
    """Three processes of one run, one of which is killed; then one process finishes the run."""
    name = facts["command"] = "run, from an empty folder"
    undisturbed = world.undisturbed(name)[1]
    world.copy(name, folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launched = {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        Running(
            world.job(
                name, folder, name=f"rank{rank}", environment={**launched, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            )
        )
        for rank in range(3)
    ]
    victim, share = rng.randrange(3), rng.uniform(0.1, 0.3)
    facts["what"] = f"SIGKILL of process {victim} of 3 after {share:.0%} of the time of one"
    assert ranks[victim].send(signal.SIGKILL, cpu=share * undisturbed.cpu), "it ended before"
    assert ranks[victim].wait().code == -signal.SIGKILL
    time.sleep(2)
    for running in ranks:  # as the launcher does
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
    codes = [running.wait(60).code for running in ranks]
    assert all(code != 0 for code in codes), codes
    again = run(world.job(name, folder))
    assert again.code == 0, again.err[-3000:]
    found, expected = (cells(path) for path in (folder, world.finished(name)))
    assert found.keys() == expected.keys()
    for row, figures in expected.items():  # sums over two thirds of a batch are rounded differently
        assert found[row] == pytest.approx(figures, rel=1e-4, abs=1e-4), row
    assert left_over(folder) == []


def cells(folder: Path) -> dict[tuple[str, str], dict[str, float | None]]:
    records = read_records([folder / "runs" / "records"])
    return {(r.label, r.suite): {name: cell.value for name, cell in r.cells.items()} for r in records}


PARTS = {
    "disk": (full, 20, WRITING),
    "clock": (clock, 10, NAMES),
    "moved": (moved, 10, NAMES),
    "together": (together, 10, NAMES),
    "three": (three, 6, ()),
}
"""The trials of each part: what they do, how many there are, and with which commands."""


def carry_out(part: str, number: int, names: Sequence[str], record: bool, world: World, folder: Path) -> None:
    trial = Trial(part, number)
    test = f"{FILE}::test_command_ends_right_or_says_why_it_cannot[trial-{number:03d}-{part}]"
    with recorded(trial, test, record):
        PARTS[part][0](world, folder, trial.rng, trial.facts, names)


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("number", "part"),
    [
        pytest.param(number, part, id=f"trial-{number:03d}-{part}")
        for part, (_, count, *_) in PARTS.items()
        for number in range(count)
    ],
)
def test_command_ends_right_or_says_why_it_cannot(number: int, part: str, world: World, tmp_path: Path) -> None:
    carry_out(part, number, PARTS[part][2], True, world, tmp_path / "trial")


@pytest.mark.parametrize("part", ["disk", "clock", "together"])
def test_fast_command_ends_right_or_says_why_it_cannot(part: str, world: World, tmp_path: Path) -> None:
    carry_out(part, 0, ["prune aptp"], False, world, tmp_path / "trial")
