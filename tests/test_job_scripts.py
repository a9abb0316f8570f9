"""The script of a job: its #SBATCH lines, and its history when it ends, is stopped or runs out of time."""

import math
import os
import signal
import subprocess
import time
from pathlib import Path

import fake_slurm
import pytest

from benchmark.errors import UsageError
from benchmark.jobs import events, script
from benchmark.jobs.sbatch_options import Resources, directives, parse_options, seconds_of

WORDS = ("--method", "uce", "--suite", "artists")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write the script of a job that executes `code` with bash, and return its path."""

    def write(code: str) -> Path:
        monkeypatch.setattr(script, "command", lambda *_: ["bash", "-c", code])
        path = tmp_path / "a b" / "001-run.sh"
        path.parent.mkdir(exist_ok=True)
        path.write_text(script.text(WORDS, "six-001", path, tmp_path, tmp_path, Resources(cpus=3)))
        return path

    return write


def start(path: Path, **environment: str) -> subprocess.Popen[bytes]:
    with open(path.with_suffix(".log"), "ab") as log:
        return subprocess.Popen(["bash", str(path)], env={**os.environ, **environment}, stdout=log, stderr=log)


def history(path: Path) -> list[tuple[str, str]]:
    return [(event.name, event.details) for event in events.read(path.with_suffix(".state"))]


def wait_for_start(path: Path) -> None:
    deadline = time.monotonic() + 60
    while "ready" not in (path.with_suffix(".log").read_text() if path.with_suffix(".log").exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_success_and_failure_are_written_with_the_last_line(written) -> None:
    path = written("echo $OMP_NUM_THREADS cores; pwd")
    assert start(path).wait(60) == 0
    assert [name for name, _ in history(path)] == ["started", "done"]
    assert path.with_suffix(".log").read_text().splitlines() == ["3 cores", str(path.parents[1])]
    path = written("echo 'error: the disk is full: free some space.' >&2; echo; exit 2")
    assert start(path).wait(60) == 2
    assert history(path)[-1] == ("failed", "2 error: the disk is full: free some space.")
    last = events.read(path.with_suffix(".state"))[-1]
    assert last.job.startswith("local-")
    assert abs(last.time - time.time()) < 60


def test_job_whose_time_is_nearly_over_stops_its_run_and_is_queued_again(written, tmp_path, monkeypatch) -> None:
    cluster = fake_slurm.install(tmp_path / "slurm", monkeypatch)
    path = written("trap 'echo stopped; exit 143' TERM; echo ready; while true; do sleep 0.05; done")
    process = start(path, SLURM_JOB_ID="7")
    wait_for_start(path)
    process.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + 60
    while not cluster.called():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert cluster.called() == ["requeue 7"]
    assert history(path)[-1] == ("requeued", "the time limit is near")
    assert "stopped" in path.with_suffix(".log").read_text()
    process.send_signal(signal.SIGTERM)  # as Slurm does to a job that it queues again
    assert process.wait(60) == 0
    assert history(path)[-1][0] == "requeued"


def test_job_that_never_finishes_in_its_time_fails_after_many_restarts(written, tmp_path, monkeypatch) -> None:
    cluster = fake_slurm.install(tmp_path / "slurm", monkeypatch)
    path = written("echo ready; while true; do sleep 0.05; done")
    process = start(path, SLURM_JOB_ID="7", SLURM_RESTART_COUNT=str(script.RESTARTS))
    wait_for_start(path)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 1
    assert cluster.called() == []
    assert history(path)[-1][1].endswith(f"reached after {script.RESTARTS} restarts: ask for more time")


def test_cancelled_job_stops_its_run_and_writes_it(written) -> None:
    path = written("trap 'echo stopped; exit 143' TERM; echo ready; while true; do sleep 0.05; done")
    process = start(path, SLURM_JOB_ID="7")
    wait_for_start(path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert [name for name, _ in history(path)] == ["started", "stopped"]
    assert path.with_suffix(".log").read_text().splitlines()[-1] == "stopped"


def test_attempt_that_was_killed_counts_until_its_last_line(written) -> None:
    path = written("echo resumed")
    path.with_suffix(".state").write_text("2026-01-01T10:00:00Z started 7 node1\n2026-01-02T10:00:00Z submitted 8\n")
    path.with_suffix(".log").write_text("train 5/10\n")
    os.utime(path.with_suffix(".log"), (1767268800.0, 1767268800.0))  # 2026-01-01 12:00 UTC
    assert start(path).wait(60) == 0
    assert [name for name, _ in history(path)] == ["started", "submitted", "lost", "started", "done"]
    assert 2 <= events.hours(events.read(path.with_suffix(".state")), time.time()) < 2.1


def test_several_gpus_start_accelerates_launcher(tmp_path) -> None:
    path = tmp_path / "001-run.sh"
    one, four = (script.text(WORDS, "six-001", path, tmp_path, tmp_path, Resources(8, gpus, 90, 32)) for gpus in (1, 4))
    assert "-m benchmark run --method uce --suite artists" in one
    assert "--device cuda --yes" in one
    assert "#SBATCH --gpus=1\n" in one
    assert "-m accelerate.commands.launch --multi_gpu --num_machines 1 --num_processes 4" in four
    assert "-m benchmark run --method uce" in four
    assert "--device" not in four
    assert "#SBATCH --gpus=4\n#SBATCH --time=0-01:30:00\n#SBATCH --mem=32G\n" in four


def test_launcher_accepts_the_options_of_the_script() -> None:
    from accelerate.commands.launch import launch_command_parser

    words = script.command(WORDS, Path("runs"), 4)
    arguments = launch_command_parser().parse_args(words[words.index("accelerate.commands.launch") + 1 :])
    assert (arguments.num_processes, arguments.module, arguments.training_script) == (4, True, "benchmark")
    assert arguments.training_script_args[:3] == ["run", "--method", "uce"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("2:00:00", 7200),
        ("1-2", 93600),
        ("1-2:30", 95400),
        ("1-00:00:05", 86405),
        ("UNLIMITED", math.inf),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text, seconds) -> None:
    assert seconds_of(text) == seconds


def test_options_replace_those_of_the_estimate_and_short_jobs_are_warned_later(tmp_path) -> None:
    options = parse_options(["time=2", "mem-per-gpu=40G", "gres=gpu:a100:2", "exclusive=user"])
    lines = directives("six-001", tmp_path / "log", Resources(8, 2, 90, 32, options=options))
    assert [line for line in lines if line.startswith(("gpus", "mem=", "time"))] == ["time=2"]
    assert {"gres=gpu:a100:2", "mem-per-gpu=40G", "exclusive=user", "signal=B:USR1@30"} <= set(lines)
    with pytest.raises(UsageError, match="Slurm cannot write its log to"):
        directives("six-001", tmp_path / "100%" / "log", Resources())
