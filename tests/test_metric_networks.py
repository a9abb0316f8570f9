"""Metrics with networks of their own, which read the pixels of the pictures."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from docs_plugins import written
from test_prunings import bench, refused

from benchmark.errors import UsageError
from benchmark.suites.load import in_run

RUN = ("run", "--method", "distilled", "--budget", "1it", "--reference", "base", "--alone", "--suite", "artists")


def brightness_of(runs: Path) -> dict[str, Any]:
    paths = sorted((runs / "records").glob("*.record.json"))
    (record,) = (r for path in paths if (r := json.loads(path.read_text()))["method"] == "distilled")
    return record["cells"]["brightness"]


def test_a_metric_reads_pixels_and_a_changed_file_is_scored_again(standin: Path, tmp_path: Path) -> None:
    path = written("brightness.py", tmp_path)
    command = (*RUN, "--metric", f"{path}:Brightness", "--runs", str(tmp_path / "runs"))
    result = bench(*command)
    assert result.exit_code == 0, result.output
    first = brightness_of(tmp_path / "runs")
    assert 0 < first["value"] < 1
    assert first["back_end"].startswith("mean-pixel-code-")
    path.write_text(path.read_text().replace("/ 255", "/ 510"))  # stored features must not be used
    assert bench(*command).exit_code == 0
    assert brightness_of(tmp_path / "runs")["value"] == pytest.approx(first["value"] / 2, rel=1e-4)


def test_features_are_those_of_the_pixels(tmp_path: Path) -> None:
    suite = in_run("artists", [f"{written('brightness.py', tmp_path)}:Brightness"])
    pictures = torch.stack([torch.zeros(3, 8, 8), torch.full((3, 8, 8), 255)]).to(torch.uint8)
    assert suite.networks("cpu")["brightness"](pictures).tolist() == [[0], [1]]
    assert in_run("artists").networks("cpu") == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('{"brightness": MeanPixel()}', "[MeanPixel()]", "must return a dictionary"),
        ('{"brightness": MeanPixel()}', '{"brightness": 3}', "must be callable, and have a `name` and a `size`"),
        ('{"brightness": MeanPixel()}', '{"text": MeanPixel()}', "cannot be the job of a network"),
        ('{"brightness": MeanPixel()}', '{"clip": MeanPixel()}', "which testbed 'mini' also has"),
    ],
)
def test_a_wrong_network_is_refused_before_training(
    standin: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = written("brightness.py", tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    result = bench(*RUN, "--metric", f"{path}:Brightness", "--runs", str(tmp_path / "runs"))
    assert message in refused(result)
    assert not list((tmp_path / "runs").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("images.float().mean(dim=(1, 2, 3))", r"returned \(2,\) for 2 pictures: return a tensor of shape \(2, 1\)"),
        ("images.float().mean(dim=(1, 2, 3))[:, None] / 0 * 0", "not finite"),
        ("[0, 0]", "returned list for 2 pictures"),
    ],
)
def test_features_of_a_wrong_shape_or_value_are_refused(tmp_path: Path, new: str, message: str) -> None:
    path = written("brightness.py", tmp_path)
    path.write_text(path.read_text().replace("images.float().mean(dim=(1, 2, 3))[:, None] / 255", new))
    network = in_run("artists", [f"{path}:Brightness"]).networks("cpu")["brightness"]
    with pytest.raises(UsageError, match=message):
        network(torch.ones(2, 3, 8, 8, dtype=torch.uint8))


def test_doctor_computes_a_metric_of_pixels(standin: Path, tmp_path: Path) -> None:
    result = bench("doctor", "--metric", f"{written('brightness.py', tmp_path)}:Brightness")
    assert result.exit_code == 0, result.output
    assert "reads brightness" in result.stdout
