"""`bench campaign --on slurm`: what is submitted, in which order, and what --status and --cancel do with it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import fake_slurm
import pytest
from test_cli import answer, bench

from benchmark.cost import devices
from benchmark.jobs import events, slurm
from benchmark.pipeline import run_cache

METHODS = ("bilevel", "esd", "uce")
SIX = "--method {bilevel,esd,uce} --suite artists --seed {0,1}\n"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fake_slurm.FakeSlurm:
    monkeypatch.setattr(run_cache, "find", lambda request: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "six.txt").write_text(SIX)
    return fake_slurm.install(tmp_path / "slurm", monkeypatch)


def campaign(*words: str) -> str:
    result = bench("campaign", "six.txt", "--runs", "runs", *words)
    assert result.exit_code == 0, result.output
    return result.stdout


def states() -> dict[str, str]:
    return {row["number"]: row["state"] for row in json.loads(campaign("--status", "--format", "json"))}


def folder() -> Path:
    return Path("runs/campaign/six")


def file_of(number: str, suffix: str) -> Path:
    (path,) = folder().glob(f"{number}-*.sh")
    return path.with_suffix(suffix)


def test_reference_is_submitted_first_and_all_runs_depend_on_it(cluster) -> None:
    campaign("--on", "slurm")
    calls = [line.split() for line in cluster.submitted()]
    assert [Path(call[-1]).name for call in calls] == [
        "001-distilled-artists.sh",
        *(f"{k + 2:03d}-{m}-artists-seed{s}.sh" for k, (m, s) in enumerate((m, s) for m in METHODS for s in (0, 1))),
    ]
    assert [call[2] for call in calls[1:]] == ["--dependency=afterok:101"] * 6
    assert not any(word.startswith("--dependency") for word in calls[0])
    assert states() == {f"{k:03d}": "waiting" for k in range(1, 8)}


def test_the_same_command_again_submits_only_failed_and_cancelled_runs(cluster) -> None:
    campaign("--on", "slurm")
    names = {number: f"six-{number}" for number in states()}
    for number, (event, details) in {
        "001": ("done", ""),
        "002": ("failed", "2 error: no such thing"),
        "003": ("stopped", ""),
    }.items():
        events.add(file_of(number, ".state"), "started", str(100 + int(number)), "node1")
        events.add(file_of(number, ".state"), event, str(100 + int(number)), details)
    events.add(file_of("004", ".state"), "started", "104", "node1")
    cluster.queue(
        f"104|{names['004']}|RUNNING|None",
        f"105|{names['005']}|PENDING|Resources",
        "106|of-someone-else|RUNNING|None",  # after a reset, Slurm counts from 1 again
    )
    assert states() == {
        "001": "done", "002": "failed", "003": "failed", "004": "running", "005": "waiting", "006": "failed",
        "007": "failed",
    }  # fmt: skip
    before = len(cluster.submitted())
    printed = campaign("--on", "slurm", "--job", "time=8:00:00")
    new = [Path(line.split()[-1]).name[:3] for line in cluster.submitted()[before:]]
    # mini keeps receipts, and there are none: the reference is submitted again, too.
    assert new == ["001", "002", "003", "006", "007"]
    assert re.findall(r"unchanged (\d+)", printed) == ["104", "105"]
    assert "--time=8:00:00" in file_of("002", ".sh").read_text()
    assert "--time=8:00:00" not in file_of("004", ".sh").read_text()


def test_finished_runs_are_not_submitted(cluster, monkeypatch) -> None:
    monkeypatch.setattr(run_cache, "find", lambda request: request.method != "esd")
    assert "4 finished" in campaign("--on", "slurm")
    assert [Path(line.split()[-1]).name[3:] for line in cluster.submitted()] == [
        "-esd-artists-seed0.sh",
        "-esd-artists-seed1.sh",
    ]
    assert sorted(states().values()) == ["done"] * 4 + ["waiting"] * 2


def test_status_shows_the_last_line_and_the_hours(cluster) -> None:
    campaign("--on", "slurm")
    state, log = file_of("002", ".state"), file_of("002", ".log")
    state.write_text(
        "2026-01-01T10:00:00Z submitted 102\n2026-01-01T11:00:00Z started 102 node1\n"
        "2026-01-01T12:00:00Z requeued 102 the time limit is near\n2026-01-01T14:00:00Z started 102 node2\n"
        "2026-01-01T14:30:00Z failed 102 2 error: the disk is full\nhalf a line"
    )
    log.write_text("first\nerror: the disk is full\n\n")
    row = json.loads(campaign("--status", "--format", "json"))[1]
    assert (row["state"], row["hours"], row["details"]) == ("failed", 1.5, "error: the disk is full")
    table = campaign("--status").splitlines()
    assert table[2].split() == [
        "002-bilevel-artists-seed0",
        "failed",
        "102",
        "1.50",
        *["error:", "the", "disk", "is", "full"],
    ]
    assert table[-1] == "6 waiting, 1 failed, 1.50 hours spent"


def test_job_that_slurm_killed_is_failed_with_slurms_reason(cluster) -> None:
    campaign("--on", "slurm")
    cluster.queue()
    (cluster.folder / "ended-102").write_text(
        "JobId=102 JobName=six-002 JobState=TIMEOUT Reason=TimeLimit Restarts=0\n"
    )
    (cluster.folder / "ended-103").write_text("JobId=103 JobState=CANCELLED Reason=DependencyNeverSatisfied\n")
    events.add(file_of("002", ".state"), "started", "102", "node1")
    file_of("002", ".log").write_text("train bilevel 12/350 it\n")
    rows = {row["number"]: row for row in json.loads(campaign("--status", "--format", "json"))}
    assert rows["002"]["details"] == "TIMEOUT (TimeLimit): train bilevel 12/350 it"
    assert rows["003"]["details"] == ("Slurm ended the job before it started: CANCELLED (DependencyNeverSatisfied)")
    assert {row["state"] for row in rows.values()} == {"failed"}


def test_cancel_cancels_live_jobs_only_and_status_says_so(cluster) -> None:
    campaign("--on", "slurm")
    events.add(file_of("001", ".state"), "started", "101", "node1")
    events.add(file_of("001", ".state"), "done", "101")
    assert campaign("--cancel") == "6 jobs cancelled\n"
    assert cluster.cancelled() == ["102 103 104 105 106 107"]
    events.add(file_of("002", ".state"), "stopped", "102")  # as the script does, maybe later
    assert states() == {"001": "done", **{f"{k:03d}": "cancelled" for k in range(2, 8)}}
    assert campaign("--cancel") == "0 jobs cancelled\n"


def test_controller_that_restarts_is_waited_for_and_one_that_stays_down_is_one_sentence(cluster, monkeypatch) -> None:
    monkeypatch.setattr(slurm, "PAUSE", 0.0)
    campaign("--on", "slurm")
    (cluster.folder / "down").write_text("x\n" * (slurm.TRIES - 1))
    assert set(states().values()) == {"waiting"}
    (cluster.folder / "down").write_text("x\n" * slurm.TRIES)
    told = answer(bench("campaign", "six.txt", "--runs", "runs", "--status"))
    assert "squeue failed (slurm_load_jobs error: Unable to contact slurm controller (connect failure))" in told


def test_refusal_of_sbatch_is_one_sentence_and_the_rest_can_be_submitted_later(cluster) -> None:
    (cluster.folder / "refusal").write_text("sbatch: error: invalid partition specified: gpu\nsbatch: error: Batch job "
                                            "submission failed: Invalid partition name specified\n")  # fmt: skip
    told = answer(bench("campaign", "six.txt", "--runs", "runs", "--on", "slurm", "--job", "partition=gpu"))
    assert "001-distilled-artists.sh (Batch job submission failed: Invalid partition name specified)" in told
    (cluster.folder / "refusal").unlink()
    campaign("--on", "slurm")
    assert len(cluster.submitted()) == 7


def test_missing_sbatch_is_one_sentence(cluster, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    told = answer(bench("campaign", "six.txt", "--runs", "runs", "--on", "slurm"))
    assert "Slurm's command sbatch is not on this machine's PATH" in told
    assert not Path("runs").exists()


def test_dry_run_writes_scripts_with_the_estimate_and_submits_nothing(cluster, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # no Slurm is needed
    paths = campaign("--on", "slurm", "--dry-run", "--job", "partition=cpu").splitlines()[1:]
    texts = [Path(path).read_text() for path in paths]
    assert len(texts) == 7
    assert cluster.submitted() == []
    for text in texts:
        limit = re.search(r"#SBATCH --time=0-(\d\d):(\d\d):00", text)
        assert limit
        assert 20 <= 60 * int(limit[1]) + int(limit[2]) <= 120
        assert "\n#SBATCH --partition=cpu\n" in text
        assert "\n#SBATCH --mem=3G\n" in text
        assert "#SBATCH --gpus" not in text
    assert "CPU-hours without the reference" in texts[1]
    assert "CPU-hours and" in texts[0]


def test_edited_campaign_keeps_the_numbers_of_its_runs(cluster) -> None:
    campaign("--on", "slurm")
    Path("six.txt").write_text(f"--method conceptprune --suite artists\n{SIX}")
    campaign("--on", "slurm")
    assert file_of("002", ".sh").name == "002-bilevel-artists-seed0.sh"
    assert file_of("008", ".sh").name == "008-conceptprune-artists.sh"
    assert len(cluster.submitted()) == 8


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--job", "a=b"], "--job has no effect here: the runs are no jobs without --on"),
        (["--on", "slurm", "--lanes", "2"], "--lanes has no effect here: Slurm decides"),
        (["--status", "--cancel"], "give only one of them"),
        (["--status", "--on", "local"], "--on has no effect here"),
        (["--on", "local", "--format", "json"], "--format has no effect here"),
        (["--on", "slurm", "--job", "partition"], "--job takes an option of sbatch"),
        (["--on", "slurm", "--job", "output=x"], "--job output cannot be set"),
        (["--on", "slurm", "--job", "gpus=2"], "use --gpus 2"),
        (["--on", "slurm", "--job", "mem=1", "--job", "mem=2"], "gives 'mem' twice"),
        (["--on", "slurm", "--job", "time=soon"], "--job time must be a time"),
        (["--on", "slurm", "--hardware", "H1"], "Unknown device 'H1'"),
        (["--on", "slurm", "--hardware", "cpu", "--gpus", "1"], "--hardware cpu has no GPU, and --gpus asks for 1"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence_before_anything_is_written(cluster, words, sentence) -> None:
    assert sentence in answer(bench("campaign", "six.txt", "--runs", "runs", *words))
    assert not list(Path("runs").rglob("*.sh"))
    assert cluster.submitted() == []


def test_model_that_does_not_fit_the_gpu_is_refused_with_its_run(cluster, monkeypatch) -> None:
    Path("six.txt").write_text("--method bilevel --suite artists --testbed sd21\n")
    monkeypatch.setattr(devices, "SLOWEST", replace(devices.SLOWEST, memory=4))
    told = answer(bench("campaign", "six.txt", "--runs", "runs", "--on", "slurm"))
    assert "bench run --method bilevel --suite artists --testbed sd21: it needs" in told
    assert f"{devices.SLOWEST.name} has 4.0 GB" in told
    assert cluster.submitted() == []


def test_wrong_setting_is_refused_with_its_run_before_anything_is_submitted(cluster) -> None:
    Path("six.txt").write_text("--method {uce,esd} --suite artists --set nosuch=1\n")
    told = answer(bench("campaign", "six.txt", "--runs", "runs", "--on", "slurm"))
    assert "bench run --method uce --suite artists --set nosuch=1: Unknown uce setting 'nosuch'" in told
    assert cluster.submitted() == []
