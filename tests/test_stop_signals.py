"""SIGTERM and SIGHUP end a command with a sentence, with the exit code of shells, and with its child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.cli import stop_signals
from benchmark.errors import Stopped
from benchmark.store import durable

WAITING = """
import sys, time
from benchmark.cli import main
from benchmark.pipeline import run

def wait(request, progress, tracker=None):
    print("begun", flush=True)
    for _ in range(600):
        time.sleep(0.1)

run.run = wait
sys.argv = ["bench", "run", "--method", "bilevel", "--suite", "artists", "--runs", sys.argv[1], "--device", "cpu"]
main()
"""
CAMPAIGN = """
import sys
from pathlib import Path
from benchmark.cli import stop_signals
from benchmark.experiments import campaign

code = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'w'), flush=True); time.sleep(60)"
run = campaign._run_command
campaign._run_command = lambda command, *rest: run([sys.executable, "-c", code, sys.argv[1]], *rest)
stop_signals.install()
try:
    campaign.conduct([["first"], ["second"]], Path("runs"))
except KeyboardInterrupt as stop:
    sys.exit(128 + stop.number)
"""


@pytest.mark.parametrize("name", stop_signals.SIGNALS)
def test_a_signal_ends_a_run_with_a_sentence_and_the_exit_code_of_shells(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", WAITING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.Signals[name])
        _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.Signals[name]
    assert told == f"stopped by {name}; run the same command again to resume\n"


def test_a_signal_ends_the_current_run_of_a_campaign_and_starts_no_other(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", CAMPAIGN, str(file)]) as process:
        deadline = time.monotonic() + 60
        while not (file.exists() and file.read_text().strip()) and time.monotonic() < deadline:
            time.sleep(0.05)
        run = int(file.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert not durable.alive(run)
    assert int(file.read_text()) == run


def test_ignored_signals_and_those_of_launched_processes_keep_their_action(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with monkeypatch.context() as launched:
            launched.setenv("RANK", "1")
            launched.setenv("WORLD_SIZE", "2")
            stop_signals.install()
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        stop_signals.install()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # as under nohup
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # a second one ends the process at once
    finally:
        for number, action in kept.items():
            signal.signal(number, action)
