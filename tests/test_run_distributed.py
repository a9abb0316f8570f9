"""Two processes: the same pictures and figures as one, no race, and no two opinions about what is to be done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.records import read_records

HERE = Path(__file__).parent


def test_two_processes_disagree_with_one(weights: Path, finished: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--master-port=0",
        "--rdzv-backend=c10d",
    ]
    launch += ["--rdzv-endpoint=localhost:0", str(HERE / "two_processes.py"), str(home), str(weights)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    def cells(folder: Path) -> dict[tuple[str, str], dict[str, float | None]]:
        records = read_records([folder / "records"])
        return {(r.label, r.suite): {name: cell.value for name, cell in r.cells.items()} for r in records}

    one, two = cells(finished), cells(home)
    assert one.keys() == two.keys()
    for key, figures in one.items():
        for name, value in figures.items():
            assert two[key][name] == pytest.approx(value, abs=2e-2), (key, name)

    def pictures(folder: Path) -> set[str]:
        return {path.parent.name for path in (folder / "artefacts" / "images").glob("*/artefact.json")}

    assert pictures(home) == pictures(finished)
