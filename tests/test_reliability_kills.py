"""Commands that are killed at random moments: run again, they end as if nothing had happened.

100 times SIGKILL, and 10 times each SIGTERM and SIGHUP. See trials.py for how to carry out all of them, forked.py for
what a kill is here. Half of the moments are calls that change or flush a file in the trial's folder, drawn uniformly
from all calls of the command; the others are shares of the processor time that the command takes.
"""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from forked import Ended, Fault, Running, run
from reliability import COMMANDS, World, left_over
from trials import Trial, numbers, recorded

FILE = Path(__file__).name
pytestmark = pytest.mark.timeout(3600)  # the first trial makes what others start from
KILLS, STOPS, FAST = 100, 10, "prune aptp"
ORDER = ("run", "eval", "prune aptp", "export", "report", "run", "campaign", "eval", "run, from an empty folder", "run")
ORDER += ("prune aptp", "export", "report", "run", "eval", "run --method all", "campaign", "prune aptp")
FIRST = {"campaign": 280}
"""Calls that change or flush a file in the first run of the campaign; those of the runs are not counted otherwise."""


def begun(world: World, name: str, folder: Path, rng: random.Random, facts: dict[str, object]) -> Running:
    """Start the command, and SIGKILL it at a random moment."""
    undisturbed = world.undisturbed(name)[1]
    events = FIRST.get(name, undisturbed.events)
    if rng.random() < 0.5:
        event = rng.randint(1, events)
        facts["what"] = f"SIGKILL at call {event} of {events} that changes or flushes a file"
        return Running(world.job(name, folder, Fault(event=event, group=name == "campaign")))
    share = rng.uniform(0.02, 0.98)
    facts["what"] = f"SIGKILL after {share:.0%} of its time"
    running = Running(world.job(name, folder))
    signalled(running, undisturbed, signal.SIGKILL, share, name)
    return running


def signalled(running: Running, undisturbed: Ended, number: int, share: float, name: str) -> bool:
    """Send the signal after a share of the command's processor time; a campaign only waits, so its duration counts."""
    if name == "campaign":
        return running.send(number, wall=share * undisturbed.seconds)
    return running.send(number, cpu=share * undisturbed.cpu)


def finished(world: World, name: str, folder: Path) -> None:
    """Run the command again, and compare what it leaves with what it leaves undisturbed."""
    if name == "export" and (folder / "out").exists():  # it was complete before the kill
        refused = run(world.job(name, folder))
        assert refused.code == 2
        assert "exists already" in refused.err
        _, undisturbed = world.undisturbed(name)
        world.check(name, folder, undisturbed)
        return
    again = Running(world.job(name, folder))
    ended = again.wait()
    world.check(name, folder, ended)


@pytest.mark.parametrize(("number", "record"), numbers(KILLS, usual=2))
def test_killed_command_runs_again_to_the_same_results(number: int, record: bool, world: World, tmp_path: Path) -> None:
    trial, name = Trial("kill", number), ORDER[number % len(ORDER)] if record else FAST
    trial.facts["command"] = name
    test = f"{FILE}::test_killed_command_runs_again_to_the_same_results[trial-{number:03d}]"
    with recorded(trial, test, record):
        rng = trial.rng
        for attempt in range(8):
            folder = world.copy(name, tmp_path / str(attempt))
            running = begun(world, name, folder, rng, trial.facts)
            if running.wait().code == -signal.SIGKILL:
                break
        else:
            raise AssertionError("it always ended before the kill")
        finished(world, name, folder)
        assert running.others_end()


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize(("number", "record"), numbers(STOPS, usual=1))
def test_stopped_command_says_so_and_loses_nothing(
    number: int, record: bool, signal_name: str, world: World, tmp_path: Path
) -> None:
    trial, name = Trial(signal_name, number), list(COMMANDS)[number % len(COMMANDS)] if record else FAST
    trial.facts["command"] = name
    signal_number = signal.Signals[signal_name]
    test = f"{FILE}::test_stopped_command_says_so_and_loses_nothing[trial-{number:03d}-{signal_name}]"
    with recorded(trial, test, record):
        rng, undisturbed = trial.rng, world.undisturbed(name)[1]
        for attempt in range(8):
            folder, share = world.copy(name, tmp_path / str(attempt)), rng.uniform(0.1, 0.9)
            trial.facts["what"] = f"{signal_name} after {share:.0%} of its time"
            running = Running(world.job(name, folder))
            signalled(running, undisturbed, signal_number, share, name)
            ended = running.wait()
            if ended.code not in (0, 2, -signal_number):  # it came neither after the end nor before the beginning
                break
        else:
            raise AssertionError("it always ended before the signal")
        assert ended.code == 128 + signal_number, (ended.code, ended.err[-3000:])
        assert ended.err.endswith(f"stopped by {signal_name}; run the same command again to resume\n"), ended.err
        assert "Traceback" not in ended.err
        assert running.others_end(5)
        assert [path for path in left_over(folder) if "scratch/" not in path] == []
        finished(world, name, folder)
