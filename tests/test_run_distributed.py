"""Two processes give the images and scores of one process, and one process finishes a run that another left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from standin import whole

from benchmark.records.record import read_records

HERE = Path(__file__).parent


def launched(python: str, *words: object, processes: int = 2, seconds: int = 300) -> subprocess.CompletedProcess[str]:
    """`two_processes.py` in some processes."""
    launch = [python, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--master-port=0"]
    launch += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", str(HERE / "two_processes.py")]
    environment = {
        **os.environ,
        "PYTHON_EXEC": python,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]),
    }
    return subprocess.run(
        [*launch, *map(str, words)], env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


def cells(folder: Path) -> dict[tuple[str, str], dict[str, float | None]]:
    records = read_records([folder / "records"])
    return {(r.label, r.suite): {name: cell.value for name, cell in r.cells.items()} for r in records}


def shards(folder: Path) -> set[str]:
    return {path.parent.name for path in (folder / "artefacts" / "images").glob("*/artefact.json")}


def apart(home: Path, other: Path, names: set[str]) -> int:
    """The most by which a value of 255 differs in the pictures of these shards."""
    pictures = [picture for name in names for picture in (home / "artefacts" / "images" / name).glob("*.png")]
    assert pictures
    pairs = [(picture, other / picture.relative_to(home)) for picture in pictures]
    values = [[np.asarray(Image.open(path)).astype(int) for path in pair] for pair in pairs]
    return max(int(abs(ours - theirs).max()) for ours, theirs in values)


def test_two_processes_give_the_results_of_one(warm_python: str, weights: Path, finished: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = launched(warm_python, home, weights)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = cells(finished), cells(home)
    assert one.keys() == two.keys()
    for key, figures in one.items():
        for name, value in figures.items():
            assert two[key][name] == pytest.approx(value, rel=1e-4, abs=1e-4), (key, name)
    assert shards(home) == shards(finished)
    assert apart(home, finished, shards(home)) <= 2


def test_one_process_finishes_a_run_of_two_after_a_kill(
    warm_python: str, weights: Path, finished: Path, standin: Path, tmp_path: Path
) -> None:
    """The trained models are there: two processes sample, one is killed, one process ends it with the same table."""
    home = tmp_path / "home"
    shutil.copytree(finished, home, symlinks=True)
    for made in ("records", "pictures", "images", "artefacts/images", "artefacts/seen", "artefacts/features"):
        shutil.rmtree(home / made, ignore_errors=True)
    done = launched(warm_python, home, weights, "dies")
    assert done.returncode != 0
    begun = shards(home)
    assert len(begun) >= 2, done.stderr[-3000:]
    assert begun < shards(finished)

    whole(home)
    assert shards(home) == shards(finished)
    assert apart(home, finished, begun) <= 2
    one, two = cells(finished), cells(home)
    assert one.keys() == two.keys()
    for key, figures in one.items():
        for name, value in figures.items():
            assert two[key][name] == pytest.approx(value, rel=1e-4, abs=1e-4), (key, name)


def work(python: str, home: Path, weights: Path, processes: int) -> Counter[str]:
    """Rows that all processes of a run compute together, by network."""
    done = launched(python, home, weights, "counts", processes=processes, seconds=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    files = list(home.parent.glob(f"{home.name}-work-*.json"))
    assert len(files) == processes
    return sum((Counter(json.loads(file.read_text())) for file in files), Counter())


@pytest.mark.campaign
def test_two_and_four_processes_do_the_work_of_one(warm_python: str, weights: Path, tmp_path: Path) -> None:
    """Pruning, concept images, training, sampling and scoring are shared out, or made once while the others wait."""
    alone = work(warm_python, tmp_path / "1", weights, 1)
    assert {"U-Net", "VAE decoder", "text encoder", "oracle"} <= alone.keys()
    for processes in (2, 4):
        together = work(warm_python, tmp_path / str(processes), weights, processes)
        print(f"{processes} processes:", {name: f"{together[name] / rows:.3f}" for name, rows in alone.items()})
        for name, rows in alone.items():
            assert together[name] <= 1.05 * rows, (name, processes)
