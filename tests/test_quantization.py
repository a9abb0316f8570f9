"""Weights are rounded to nearest with one scale per output channel, and a rounded model is a model of its own."""

import json
from pathlib import Path

import pytest
import torch
from test_cli import bench
from torch import nn

from methods.quantization import round_weights


@pytest.mark.parametrize(("weights", "bits"), [("int8", 8), ("int4", 4)])
def test_weights_are_rounded_per_output_channel(weights, bits: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Linear(5, 6))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    round_weights(model, weights)
    levels = 2 ** (bits - 1) - 1
    for name in ("0.weight", "2.weight"):
        rounded, original = model.state_dict()[name], before[name]
        for channel in range(len(original)):
            scale = float(original[channel].abs().max()) / levels
            expected = [round(value / scale) * scale for value in original[channel].flatten().tolist()]
            assert rounded[channel].flatten().tolist() == pytest.approx(expected, rel=1e-5, abs=1e-7)
            assert len(rounded[channel].unique()) <= 2 * levels + 1
    for name in ("0.bias", "1.weight", "1.bias", "2.bias"):
        assert torch.equal(model.state_dict()[name], before[name])


def test_channel_of_zeros_stays_zero_and_full_changes_nothing() -> None:
    layer = nn.Linear(3, 2)
    layer.weight.data[0] = 0
    before = layer.weight.clone()
    round_weights(layer, "full")
    assert torch.equal(layer.weight, before)
    round_weights(layer, "int4")
    assert torch.equal(layer.weight[0], torch.zeros(3))
    assert layer.weight.isfinite().all()


@pytest.mark.usefixtures("standin")
def test_rounded_checkpoint_has_a_row_and_pictures_of_its_own(tmp_path: Path) -> None:
    exported = bench("export", "base", str(tmp_path / "model"))
    assert exported.exit_code == 0, exported.output
    words = ["eval", "--checkpoint", str(tmp_path / "model"), "--name", "mine", "--suite", "artists", "--alone"]
    words += ["--reference", "base", "--device", "cpu", "--runs", str(tmp_path / "runs")]
    for weights in ("full", "int8", "int4"):
        result = bench(*words, "--weights", weights)
        assert result.exit_code == 0, result.output
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs" / "records").glob("*mine*.record.json")]
    by_label = {record["label"]: record for record in records}
    assert by_label.keys() == {"mine", "mine (int8)", "mine (int4)"}
    assert by_label["mine (int4)"]["variant"] == "weights=int4"
    assert len({record["model_key"] for record in records}) == 3
    clip = {label: record["cells"]["clip"]["value"] for label, record in by_label.items()}
    assert abs(clip["mine (int8)"] - clip["mine"]) <= abs(clip["mine (int4)"] - clip["mine"])
    table = bench("table", "--all", "--records", str(tmp_path / "runs" / "records"))
    assert "mine (int4)" in table.output
