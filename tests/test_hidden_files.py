"""Hidden files, such as macOS's `._*` companions, are skipped wherever a folder is listed."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from record_examples import record, write
from safetensors.torch import save_file
from tiny import tiny_unet
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.generation.shards import read_shard
from benchmark.models.external_checkpoint import load, locate
from benchmark.pipeline.run_cache import _count_pictures
from benchmark.records.record import read_records
from benchmark.store.artefacts import Store
from benchmark.store.listing import visible
from benchmark.testbeds.mini.testbed import write_manifest
from benchmark.testbeds.stable_diffusion import captions, find

COMPANION = b"\0\5\26\7"


def companions(folder: Path) -> None:
    """What macOS leaves on disks that are not its own: a `._x` beside each file x, and a `.DS_Store` in each folder."""
    for path in list(folder.rglob("*")):
        if path.is_file():
            path.with_name(f"._{path.name}").write_bytes(COMPANION)
        else:
            (path / ".DS_Store").write_bytes(COMPANION)
    (folder / ".DS_Store").write_bytes(COMPANION)


def test_only_names_below_the_listed_folder_count_as_hidden(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "runs"
    for name in ("a.json", "._a.json", "b/c.json", ".ipynb_checkpoints/a.json", "b/._c.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert visible(folder, "**/*.json") == [folder / "a.json", folder / "b" / "c.json"]
    assert visible(folder / "missing", "*") == []


@pytest.mark.parametrize("command", ["table", "compare base bilevel", "figure tradeoff", "table --all --over-seeds"])
def test_commands_ignore_hidden_files_among_records(command: str, tmp_path: Path) -> None:
    values = {"clip": 20.0, "target_style": 0.1, "kept_style": 0.5}
    records = [record(method, values=values, reference_key="r") for method in ("base", "bilevel", "distilled")]
    write(tmp_path / "r", *records)
    companions(tmp_path / "r")
    (tmp_path / "r" / ".ipynb_checkpoints").mkdir()
    write(tmp_path / "r" / ".ipynb_checkpoints", records[1].model_copy(update={"seed": 1}))
    out = ["--out", str(tmp_path / "f.png")] if command.startswith("figure") else []
    outcome = CliRunner().invoke(app, [*command.split(), "--records", str(tmp_path / "r"), *out])
    assert outcome.exit_code == 0, outcome.stderr
    assert len(read_records([tmp_path / "r"])) == 3


def test_hidden_files_among_images_are_skipped(tmp_path: Path) -> None:
    for k in range(2):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{k:02d}.png")
    companions(tmp_path)
    assert len(read_shard(tmp_path, 2)) == 2
    assert _count_pictures(tmp_path) == 2


def test_hidden_files_among_weights_are_skipped(tmp_path: Path) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "file.safetensors")
    checkpoint, unet = locate(str(tmp_path)), tmp_path / "unet"
    tiny_unet(0).save_pretrained(unet)
    before = locate(str(unet)).sha256()
    companions(tmp_path)
    (unet / "._more.safetensors").write_bytes(COMPANION)
    assert locate(str(unet)).sha256() == before
    unet.rename(tmp_path.parent / f"{tmp_path.name}-unet")
    assert locate(str(tmp_path)) == checkpoint


def test_hidden_files_do_not_change_a_testbed(tiny: Path, tmp_path: Path) -> None:
    """Pipeline, networks and captions of a copy of the testbed, before and after."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny.parent, copy)
    sums = find.checksums(copy / "model", {})
    companions(copy)
    (copy / "model" / "unet" / "._more.safetensors").write_bytes(COMPANION)
    (copy / "coco" / "annotations" / "._captions_val2017.json").write_bytes(COMPANION)
    assert find.checksums(copy / "model", {}) == sums
    assert find.model([str(copy / "model")]) == copy / "model"
    (copy / "style").mkdir()
    (copy / "networks" / "csd.pth").rename(copy / "style" / "csd.pth")
    (copy / "style" / "._a.safetensors").write_bytes(COMPANION)
    assert find.network(str(copy / "style"), "style") == copy / "style" / "csd.pth"
    assert captions.annotation_file(copy / "coco", "val").name == "captions_val2017.json"


def test_hidden_files_are_left_out_of_artefacts_and_shipped_weights(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    with store.make("numbers", {"a": 1}) as folder:
        (folder / "one.txt").write_text("1")
        companions(folder)
    artefact = store.find("numbers", {"a": 1})
    assert artefact is not None
    assert list(artefact.files) == ["one.txt"]
    (artefact.folder / "._one.txt").unlink()
    assert Store(tmp_path / "runs").find("numbers", {"a": 1}) is not None
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "style.safetensors").write_bytes(b"1")
    companions(weights)
    write_manifest(weights)
    assert list(json.loads((weights / "manifest.json").read_text())["files"]) == ["style.safetensors"]


def test_unet_folder_with_hidden_files_loads_unchanged(tmp_path: Path) -> None:
    from tiny import SCHEDULER, tiny_unet

    base = tiny_unet(0)
    base.save_pretrained(tmp_path / "unet")
    (tmp_path / "unet" / "._diffusion_pytorch_model.safetensors").write_bytes(b"\0\5\26\7")
    unet = load(locate(str(tmp_path / "unet")), tiny_unet(1), SCHEDULER)
    assert all(torch.equal(weight, unet.state_dict()[name]) for name, weight in base.state_dict().items())
