"""Names of external checkpoints: defaults distinguish them, fit tables and file names, and belong to one checkpoint."""

from pathlib import Path

import pytest
import torch
from record_examples import record, write
from safetensors.torch import save_file
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import UsageError
from benchmark.models.checkpoint_names import LONGEST_NAME, check_name, check_name_is_free
from benchmark.models.external_checkpoint import default_name, locate
from benchmark.records.record import BROUGHT


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("models/sd-v1.4", "sd-v1.4"),
        ("models/sd-v1.5/", "sd-v1.5"),
        ("models/sd-v1.4/unet", "sd-v1.4"),
        ("models/sd-v1.5/unet/diffusion_pytorch_model.safetensors", "sd-v1.5"),
        ("models/sd-v1.5/unet/diffusion_pytorch_model.fp16.safetensors", "sd-v1.5"),
        ("run3/checkpoint-500/unet_ema", "checkpoint-500"),
        ("esd-v1.2.safetensors", "esd-v1.2"),
        ("esd.lr1e-5.pt", "esd.lr1e-5"),
        ("org/eraser-2.1", "eraser-2.1"),
        ("org/eraser@v1.0", "eraser@v1.0"),
        ("org/eraser@refs/pr/3", "eraser@refs-pr-3"),
    ],
)
def test_default_name_distinguishes_checkpoints(path: str, name: str) -> None:
    assert default_name(path) == name


def test_default_name_of_relative_path_is_the_folder_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sd-v1.4" / "unet").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "sd-v1.4" / "unet")
    assert default_name(".") == default_name("./") == default_name("..") == "sd-v1.4"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "give it one with --name"),
        ("esd", "choose a different name"),
        ("distilled (seed 1)", "choose a different name"),
        ("two\nlines", "a line break"),
        ("tab\tand bell\a", "a line break"),
        ("line\u2028separator", "a line break"),
        ("ends \u200b", "a line break"),
        ("half\ud800", "a line break"),
        (" theirs", "a space at its start or end"),
        ("x" * 300, "300 bytes"),
        ("\u6f22" * (LONGEST_NAME // 3 + 1), f"at most {LONGEST_NAME} bytes"),
    ],
)
def test_name_unusable_in_tables_or_files_is_refused(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        check_name(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "name", ["theirs", "sd-v1.4", "esd (theirs)", "\u6f22" * (LONGEST_NAME // 3), "a" * LONGEST_NAME]
)
def test_valid_names_are_accepted(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["two\nlines", "x" * 300])
def test_invalid_name_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    given = ["--checkpoint", str(tmp_path), "--suite", "artists", "--name", name, "--runs", str(runs)]
    outcome = CliRunner().invoke(app, ["eval", *given])
    assert outcome.exit_code == 2
    assert "error: --name" in outcome.stderr
    assert not runs.exists()


def test_name_of_a_different_checkpoint_is_refused_before_loading_the_testbed(tmp_path: Path) -> None:
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        save_file({"x": torch.full((1,), float(number))}, tmp_path / folder / "eraser-v1.5.safetensors")
    first, second = (locate(str(tmp_path / folder / "eraser-v1.5.safetensors")).sha256() for folder in ("a", "b"))
    records = tmp_path / "runs" / "records"
    facts = {"pruning": BROUGHT, "data": BROUGHT, "macs": 1.0, "counted": {"share": 1.0, "checkpoint": first}}
    write(records, record("eraser-v1.5", **facts), record("base"))
    (records / "._x.record.json").write_bytes(b"\0\5\26\7")
    (records / "damaged.record.json").write_text("{")
    check_name_is_free(records, "mini", "eraser-v1.5", first)
    check_name_is_free(records, "mini", "eraser", second)
    check_name_is_free(records, "sd21", "eraser-v1.5", second)
    checkpoint = str(tmp_path / "b" / "eraser-v1.5.safetensors")
    given = ["--checkpoint", checkpoint, "--suite", "artists", "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    outcome = CliRunner().invoke(app, ["eval", *given])
    assert outcome.exit_code == 2
    assert "'eraser-v1.5' is the name of a different checkpoint" in outcome.stderr
    assert "give a different --name" in outcome.stderr
    assert "load testbed" not in outcome.stderr
