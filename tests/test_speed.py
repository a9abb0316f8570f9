"""`bench speed` compares ways of doing the same work: the same pictures, the same loss."""

import json
from pathlib import Path

import pytest
import torch
from standin import Standin
from typer.testing import CliRunner

from benchmark import speed
from benchmark.cli import app
from benchmark.console import Progress
from benchmark.store import Store
from benchmark.workbench import Workbench

pytestmark = pytest.mark.usefixtures("standin")


def test_ways_that_are_compared_make_other_pictures(weights: Path, tmp_path: Path) -> None:
    testbed = Standin(weights)
    bench = Workbench(testbed, Store(tmp_path), Progress(), torch.device("cpu"))
    asked = testbed.prompts("artists", testbed.concept(()))[:3]
    pipeline = speed._pipeline(bench, torch.float32)
    ours, theirs = speed.sharded(bench, testbed.base(), asked), speed.one_by_one(bench, pipeline, asked)
    assert (ours.int() - theirs.int()).abs().max() <= 2


def test_speed_leaves_out_a_way_or_a_baseline(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    told = ["speed", "--images", "2", "--steps", "1", "--runs", str(tmp_path), "--out", str(out), "--device", "cpu"]
    result = CliRunner().invoke(app, told)
    assert result.exit_code == 0, result.output
    rows = json.loads(out.read_text())["rows"]
    assert [row["work"] for row in rows] == ["generation"] * 4 + ["training"] * 3
    assert all(row["rate"] > 0 and row["ours_faster"] > 0 for row in rows)
    assert [row["ours_faster"] for row in rows if row["ours"]] == [1.0, 1.0]
    assert result.output.count("   here ") == 5
