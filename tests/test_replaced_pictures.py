"""Results of a testbed's old images are never reused after the images are replaced, and broken images are refused."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from benchmark.api import RunRequest
from benchmark.api.testbed import Workbench
from benchmark.cli.app import app
from benchmark.console import Progress
from benchmark.models.fitted import Base
from benchmark.models.plan import identity, plan_of
from benchmark.models.prunings import further_identity, search_identity
from benchmark.records.record import read_records
from benchmark.store.artefacts import Store, key_of
from benchmark.testbeds.stable_diffusion import scoring_networks
from benchmark.testbeds.stable_diffusion.definition import read
from benchmark.testbeds.stable_diffusion.testbed import StableDiffusion

BROKEN = ("cut", "empty", "dangling")


@pytest.fixture
def testbed(tiny: Path, tmp_path: Path) -> Path:
    """A testbed file with pictures of its own; all else is the miniature's."""
    shutil.copytree(tiny.parent / "coco", tmp_path / "coco")
    for picture in (tmp_path / "coco").rglob("*.jpg"):
        os.utime(picture, (1_600_000_000, 1_600_000_000))
    (tmp_path / "mine.toml").write_text(f'like = "{tiny}"\nname = "mine"\ncaptions = "coco"\n')
    return tmp_path / "mine.toml"


def bench_on(testbed: Path) -> Workbench:
    store = Store(testbed.parent / "runs")
    return Workbench(StableDiffusion(read(testbed)), store, Progress(), torch.device("cpu"))


def replace(testbed: Path, side: str) -> None:
    for file in (testbed.parent / "coco" / f"{side}2017").iterdir():
        Image.new("RGB", (64, 64), "red").save(file)


def spoil(file: Path, how: str) -> None:
    data = file.read_bytes()
    file.unlink()
    if how == "dangling":
        file.symlink_to("nowhere")
    else:
        file.write_bytes(data[: len(data) // 2 if how == "cut" else 0])


def called(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


class Mean:
    """Stands for the network that FID looks through: the mean colour of each picture."""

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.float().mean((2, 3))


def real(testbed: Path) -> torch.Tensor:
    bench = bench_on(testbed)
    bench.testbed._loaded["features"] = Mean()
    return bench.testbed.real(bench.store)


def test_fid_uses_the_replaced_val_images(testbed: Path) -> None:
    old = real(testbed)
    assert torch.equal(old, real(testbed))
    replace(testbed, "val")
    new = real(testbed)
    assert (new - torch.tensor([254.0, 0, 0])).abs().max() < 2
    assert len(list((testbed.parent / "runs" / "artefacts" / "features").iterdir())) == 2
    told = called("clean", "--runs", testbed.parent / "runs", code=2)
    assert "1 artefact (" in told
    assert "1 features) in" in told
    assert "--explicit or --unreachable" in told
    assert "1 artefact" in called("clean", "--unreachable", "--runs", testbed.parent / "runs")
    assert "will not be used again" not in called("clean", "--runs", testbed.parent / "runs", code=2)
    assert torch.equal(new, real(testbed))


def keys(testbed: Path) -> dict[str, str]:
    """What models, and prunings that look at pictures or do not, are known by."""
    bench = bench_on(testbed)
    plan = plan_of(bench, RunRequest("distilled", "artists", testbed=str(testbed)), bench.testbed.concept(()))
    identities = {
        "base": Base(bench).identity,
        "distilled": identity(bench, plan),
        "magnitude": further_identity(bench, "magnitude"),
        "taylor": further_identity(bench, "taylor"),
        "experts": search_identity(bench),
    }
    return {name: key_of("model", found) for name, found in identities.items()}


def changed(testbed: Path, before: dict[str, str]) -> set[str]:
    return {name for name, key in keys(testbed).items() if key != before[name]}


def test_replaced_train_images_change_only_the_keys_that_depend_on_them(testbed: Path) -> None:
    before = keys(testbed)
    assert changed(testbed, before) == set()
    replace(testbed, "val")
    assert changed(testbed, before) == set()
    replace(testbed, "train")
    assert changed(testbed, before) == {"distilled", "taylor", "experts"}


def test_changed_captions_change_the_model_key(testbed: Path) -> None:
    before = keys(testbed)
    annotations = testbed.parent / "coco" / "annotations" / "captions_train2017.json"
    annotations.write_text(annotations.read_text().replace("train picture 0", "a boat"))
    assert "distilled" in changed(testbed, before)


def test_half_precision_changes_the_model_key(testbed: Path) -> None:
    before = keys(testbed)
    testbed.write_text(testbed.read_text() + "half = true\n")
    assert "distilled" in changed(testbed, before)


def test_names_of_scoring_networks_depend_on_their_contents(tiny: Path, tmp_path: Path) -> None:
    networks = read(tiny).networks
    shutil.copytree(tiny.parent / "networks", tmp_path / "networks")
    places = {job: tmp_path / "networks" / name for job, name in
              {"clip": "clip", "style": "csd.pth", "features": "inception.pth"}.items()}  # fmt: skip
    before = scoring_networks.names(networks, places)
    config = places["clip"] / "open_clip_config.json"
    config.write_text(config.read_text().replace('"quick_gelu": true', '"quick_gelu": false'))
    with open(places["features"], "ab") as file:
        file.write(b"x")
    after = scoring_networks.names(networks, places)
    assert {job for job in before if before[job] != after[job]} == {"clip", "features"}
    published = scoring_networks.names(read(scoring_networks.SHIPPED / "sd21.toml").networks, places)
    assert published["features"] == f"inception-legacy-{after['features'].rpartition('-')[2]}"


@pytest.mark.parametrize("how", BROKEN)
def test_doctor_reports_a_broken_val_image(how: str, testbed: Path) -> None:
    file = testbed.parent / "coco" / "val2017" / "000000000121.jpg"
    spoil(file, how)
    lines = called("doctor", "--testbed", testbed, "--runs", testbed.parent / "runs", code=1).splitlines()
    (told,) = [line for line in lines if "val captions" in line]
    assert told.startswith("✗")
    assert f"1 of the 4 val pictures cannot be read, the first is {file}" in told
    assert not (testbed.parent / "runs").exists()


@pytest.mark.parametrize("how", ["empty", "dangling"])
def test_doctor_reports_a_missing_or_empty_train_image(how: str, testbed: Path) -> None:
    spoil(testbed.parent / "coco" / "train2017" / "000000000121.jpg", how)
    told = called("doctor", "--testbed", testbed, "--runs", testbed.parent / "runs", code=1)
    assert "1 of the 6 train pictures cannot be read" in told


RUN = ["run", "--method", "distilled", "--budget", "1it", "--set", "batch=2"]
EVAL = ["eval", "--reference", "base", "--name", "theirs", "--checkpoint"]


@pytest.mark.parametrize(
    ("command", "side", "how"),
    [("run", "val", "cut"), ("run", "val", "empty"), ("eval", "val", "cut"), ("eval", "val", "dangling"),
     ("run", "train", "cut")],
)  # fmt: skip
def test_broken_image_stops_a_run_before_any_artefact_is_saved(command, side, how, testbed: Path, tiny: Path) -> None:
    spoil(testbed.parent / "coco" / f"{side}2017" / "000000000107.jpg", how)
    words = RUN if command == "run" else [*EVAL, tiny.parent / "model" / "unet"]
    runs = testbed.parent / "runs"
    told = called(*words, "--suite", "coco", "--testbed", testbed, "--device", "cpu", "--runs", runs, code=2)
    (sentence,) = [line for line in told.splitlines() if line.startswith("error: ")]
    assert f"{side} pictures cannot be read" in sentence
    assert "000000000107.jpg" in sentence
    assert not list(runs.glob("artefacts/*/*"))


def test_eval_ignores_train_images_and_records_the_val_checksum(
    testbed: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.fid.frechet_distance", lambda mean, cov, real, real_cov: (mean - real).square().sum())
    spoil(testbed.parent / "coco" / "train2017" / "000000000107.jpg", "cut")
    runs = testbed.parent / "runs"
    words = [*EVAL, tiny.parent / "model" / "unet", "--testbed", testbed, "--device", "cpu", "--runs", runs]
    called(*words, "--suite", "coco")
    worlds = [record.world for record in read_records([runs / "records"])]
    bench = bench_on(testbed)
    assert [world["real"] for world in worlds] == [bench.testbed.picture_checksum(bench.store, "val")] * 2
