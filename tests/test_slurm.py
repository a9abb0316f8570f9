"""A campaign of six runs on a real Slurm makes the same records as one without jobs.

    PALIMPSEST_SLURM_START=start.sh uv run pytest -m slurm -n 0 tests/test_slurm.py

PALIMPSEST_SLURM_START names a script that starts Slurm on this machine, or those of its daemons that do not run, and
prints `export SLURM_CONF=...`. One node with one core is enough. It takes about 15 minutes on two cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from miniature import write_testbed

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(7200)]

LINE = "--method {{bilevel,esd,uce}} --suite artists --testbed {testbed} --alone --limit 1 --budget 8it --seed {{0,1}}"
ASKED = ("--on", "slurm", "--gpus", "0", "--job", "cpus-per-task=1", "--job", "mem=1500M", "--job", "time=60")


def start() -> str:
    """Start what does not run of Slurm, and return the value of SLURM_CONF."""
    script = os.environ["PALIMPSEST_SLURM_START"]
    done = subprocess.run([script], stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    return done.stdout.split("SLURM_CONF=")[1].split()[0]


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if "PALIMPSEST_SLURM_START" not in os.environ:
        pytest.skip("PALIMPSEST_SLURM_START names no script that starts Slurm")
    monkeypatch.setenv("SLURM_CONF", start())
    testbed = write_testbed(tmp_path / "tiny")
    file = tmp_path / "six.txt"
    file.write_text(LINE.format(testbed=testbed))
    return file


def bench(file: Path, *words: str) -> str:
    command = [sys.executable, "-m", "benchmark", "campaign", str(file), *words]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=6000)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def scontrol(*words: str, check: bool = True) -> None:
    subprocess.run(["scontrol", *words], check=check, timeout=60)


MEASURED = ("wall_seconds", "device_seconds", "peak_memory_bytes")


def records(runs: Path) -> dict[str, dict]:
    """Return all records without provenance, commands, times and memory.

    The name of a file of scores has a hash of its bytes.
    """
    contents = {}
    for path in (runs / "records").glob("*.record.json"):
        record = json.loads(path.read_text())
        del record["made"], record["command"]  # a record of a shared model has the command of the run that was first
        for row in record["ledger"]:
            for key in MEASURED:
                del row[key]
        contents[path.name] = record
    return contents


def test_jobs_that_were_cancelled_timed_out_or_saw_a_restart_make_the_records_of_lanes(campaign: Path) -> None:
    runs, lanes = campaign.parent / "runs", campaign.parent / "lanes"

    def rows() -> dict[str, dict]:
        text = bench(campaign, "--runs", str(runs), "--status", "--format", "json")
        return {row["number"]: row for row in json.loads(text)}

    def wait_until(test: Callable[[dict[str, dict]], bool], minutes: float = 60) -> dict[str, dict]:
        deadline = time.monotonic() + 60 * minutes
        while not test(seen := rows()):
            assert time.monotonic() < deadline, seen
            for row in seen.values():
                if row["details"] == "BeginTime":  # Slurm lets a job that it queues again wait for two minutes
                    scontrol("update", f"jobid={row['job']}", "StartTime=now", check=False)  # it may have started
            time.sleep(5)
        return seen

    def history(row: dict) -> str:
        return Path(row["script"]).with_suffix(".state").read_text()

    bench(campaign, "--runs", str(runs), *ASKED)
    first = rows()
    assert [row["state"] for row in first.values()].count("waiting") >= 6  # all wait for the reference
    assert "distilled" in first["001"]["script"]

    # The controller is restarted while the reference is trained.
    wait_until(lambda seen: seen["001"]["state"] == "running")
    scontrol("shutdown", "slurmctld")
    time.sleep(5)
    start()
    assert rows()["001"]["state"] in ("running", "waiting", "done")  # some versions of Slurm start the job again

    # One run is cancelled by hand. The others get too little time, until one of them has been queued again.
    others = [row["job"] for number, row in first.items() if number > "002"]
    for job in others:
        scontrol("update", f"jobid={job}", "TimeLimit=1")
    wait_until(lambda seen: seen["002"]["state"] == "running")
    subprocess.run(["scancel", first["002"]["job"]], check=True, timeout=60)
    wait_until(lambda seen: any("requeued" in history(row) for row in seen.values()))
    for job in others:
        scontrol("update", f"jobid={job}", "TimeLimit=60", check=False)  # fails for a job that has ended

    seen = wait_until(lambda seen: all(row["state"] in ("done", "failed") for row in seen.values()))
    assert {number for number, row in seen.items() if row["state"] == "failed"} == {"002"}
    assert any(history(row).count("started") > history(row).count("requeued") > 0 for row in seen.values())
    printed = bench(campaign, "--runs", str(runs), *ASKED)
    assert printed.count("submitted") == 1
    wait_until(lambda seen: all(row["state"] == "done" for row in seen.values()))
    assert "0 to do" in bench(campaign, "--runs", str(runs), *ASKED)

    bench(campaign, "--runs", str(lanes), "--lanes", str(os.cpu_count() or 1))
    assert len(records(lanes)) == 8  # the base, the reference, and six runs
    assert records(runs) == records(lanes)
