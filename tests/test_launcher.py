"""Commands under torch's launcher: every process exits cleanly, and only the first one prints the table."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from standin import request, whole
from test_run import without

from benchmark.console import Progress
from benchmark.pipeline.run import evaluate
from benchmark.records.record import read_records

HERE = Path(__file__).parent
RANK = 'python -m benchmark "$@"; code=$?; echo "$code of $WORLD_SIZE" > "$ENDED/$RANK"; exit $code'
"""What the launcher starts: the command line, and then a note of how it ended."""


def launched(python: str, processes: int, ended: Path, weights: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`bench` with these words in several processes, each of which leaves "<exit code> of <processes>" in `ended`."""
    launch = [python, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--master-port=0"]
    launch += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--no-python", "sh", "-c", RANK, "bench", *words]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(python).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(HERE / "launched"), str(HERE.parent), str(HERE)]),
        "OMP_NUM_THREADS": "1",
        "STANDIN": str(weights),
        "ENDED": str(ended),
    }
    ended.mkdir()
    return subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=400, check=False)


def ends(folder: Path) -> dict[str, str]:
    """How each process ended, by its rank."""
    return {path.name: path.read_text().strip() for path in folder.iterdir()}


def cells(home: Path) -> dict[tuple[str, str, str], dict[str, float | None]]:
    return {
        (r.label, str(r.budget), r.suite): {name: cell.value for name, cell in r.cells.items()}
        for r in read_records([home / "records"])
    }


def assert_same_table(home: Path, alone: Path) -> None:
    several, one = cells(home), cells(alone)
    assert several.keys() == one.keys()
    for row, figures in one.items():
        assert several[row] == pytest.approx(figures, rel=1e-4, abs=1e-4), row


def shared_by(home: Path, method: str) -> set[int]:
    """How many processes trained a method's models, as their ledgers count time."""
    ledgers = [record.ledger for record in read_records([home / "records"]) if record.method == method]
    spent = [entry for ledger in ledgers for entry in ledger if entry["phase"] in ("lower", "upper")]
    return {round(entry["device_seconds"] / entry["wall_seconds"]) for entry in spent}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_run_in_three_processes_exits_cleanly_with_the_table_of_one(
    warm_python: str, weights: Path, finished: Path, standin: Path, home: Path, tmp_path: Path
) -> None:
    """The reference is there, since its batch of 32 cannot be shared by three."""
    settings = {"batch": 6, "lower_steps": 2, "checkpoint_every": 2}
    given = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    without(finished, home)
    words = ["run", "--method", "bilevel", "--suite", "artists", "--device", "cpu", "--runs", str(home), *given]
    done = launched(warm_python, 3, tmp_path / "ended", weights, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert ends(tmp_path / "ended") == dict.fromkeys("012", "0 of 3")
    assert done.stdout.count("Table 1 on mini") == 1
    assert shared_by(home, "bilevel") == {3}

    whole(without(finished, tmp_path / "alone"), overrides=settings)
    assert_same_table(home, tmp_path / "alone")


def test_eval_in_two_processes_exits_cleanly_with_the_table_of_one(
    warm_python: str, weights: Path, standin: Path, home: Path, tmp_path: Path
) -> None:
    words = ["eval", "--checkpoint", str(weights / "pipeline"), "--name", "theirs", "--suite", "artists", "--alone"]
    words += ["--budget", "2it", "--device", "cpu", "--runs", str(home)]
    done = launched(warm_python, 2, tmp_path / "ended", weights, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert ends(tmp_path / "ended") == {"0": "0 of 2", "1": "0 of 2"}
    assert done.stdout.count("Table 1 on mini") == 1
    assert shared_by(home, "distilled") == {2}

    alone = request(tmp_path / "alone", method="distilled", overrides={}, budget="2it", alone=True)
    with Progress() as progress:
        evaluate(alone, str(weights / "pipeline"), "theirs", progress)
    assert_same_table(home, tmp_path / "alone")


def test_study_in_two_processes_exits_cleanly_with_the_table_of_one(
    warm_python: str, weights: Path, standin: Path, home: Path, tmp_path: Path
) -> None:
    words = ["study", "init", "--prunings", "magnitude", "--seeds", "1", "--runs", str(home)]
    done = launched(warm_python, 2, tmp_path / "ended", weights, *words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert ends(tmp_path / "ended") == {"0": "0 of 2", "1": "0 of 2"}
    assert done.stdout.split() == [str(home / "studies" / f"init.{kind}") for kind in ("png", "csv")]
    assert shared_by(home, "distilled") == {2}

    for budget in ("2it", "1it"):
        whole(tmp_path / "alone", method="distilled", suite="coco", macs=0.55, overrides={}, budget=budget)
    assert_same_table(home, tmp_path / "alone")


def test_a_campaign_in_several_processes_is_refused_in_one_sentence(
    warm_python: str, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "plan.txt").write_text("--method uce --suite artists\n")
    done = launched(warm_python, 2, tmp_path / "ended", weights, "campaign", str(tmp_path / "plan.txt"))
    assert done.returncode != 0
    assert ends(tmp_path / "ended")["0"] == "2 of 2"
    told = [line for line in done.stderr.splitlines() if line.startswith(("error: ", "process "))]
    assert len(told) == 1
    assert "`bench campaign` runs in one process, and a launcher started 2" in told[0]
    assert not (tmp_path / "runs").exists()
