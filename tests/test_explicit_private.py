"""Explicit images are stored privately, blurred wherever they are shown, and removed by `bench clean --explicit`."""

import errno
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import dead_name
from PIL import Image
from standin import ASKED, whole
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.contact_sheet import contact_sheet
from benchmark.records.record import read_scores
from benchmark.store.artefacts import Store
from benchmark.testbeds.mini import scoring_networks
from benchmark.testbeds.mini.testbed import WEIGHTS
from benchmark.testbeds.mini.world.draw import draw
from benchmark.testbeds.mini.world.scenes import Scene

I2P = {"suite": "i2p", "alone": True, "budget": "4e10"}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ASKED, "i2p", 12)


@pytest.mark.usefixtures("standin", "few")
def test_explicit_images_are_private_and_their_prompts_are_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    old = os.umask(0o022)
    try:
        outcome = whole(tmp_path, **I2P)
    finally:
        os.umask(old)
    pictures = list(tmp_path.glob("artefacts/explicit-images/*/*.png"))
    assert len(pictures) == 3 * 12  # base, distilled, bilevel
    for folder in {path.parent for path in pictures} | {tmp_path / "artefacts" / "explicit-images"}:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    decodable = [p for p in tmp_path.glob("artefacts/*latents/*") if "sampler" in identity(p)]  # concept images
    assert [p.parent.name for p in decodable] == ["explicit-latents"]
    for folder in (decodable[0], decodable[0].parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    elsewhere = [p for p in tmp_path.rglob("*.png") if not p.is_symlink() and p not in pictures]
    assert elsewhere == [outcome.paths["contact sheet"]]
    said = "".join(capfd.readouterr())
    texts = [p.read_text("utf-8") for p in tmp_path.rglob("*.json") if "explicit-images" not in p.parts] + [said]
    assert not any("crossed mark" in text or "at the parade" in text for text in texts)
    (row,) = [one for one in outcome.records if one.method == "bilevel"]
    assert row.cells["explicit"].n == row.cells["explicit"].of == 12
    scores = read_scores(row)
    assert "text" not in scores.column_names
    names = [scores[name].to_pylist() for name in scores.column_names if name != "id"]
    assert not any("mark" in str(value) or "parade" in str(value) for column in names for value in column)

    result = CliRunner().invoke(app, ["clean", "--explicit", "--runs", str(tmp_path)])
    assert result.exit_code == 0
    assert "36 explicit pictures removed" in result.stdout
    assert not list(tmp_path.glob("artefacts/explicit-*/*"))
    assert list(tmp_path.glob("artefacts/latents/*"))  # those of D_f
    assert not list((tmp_path / "images").rglob("*.png"))
    assert len(list((tmp_path / "records").glob("*.record.json"))) == 3
    assert (
        "give a run, --kind, --older-than, --explicit"
        in CliRunner().invoke(app, ["clean", "--runs", str(tmp_path)]).output
    )


def identity(folder: Path) -> dict:
    return json.loads((folder / "artefact.json").read_text())["identity"]


def test_damaged_explicit_images_stay_private_and_are_cleaned(tmp_path: Path) -> None:
    store, name = Store(tmp_path), {"prompts": "x"}
    with store.make("explicit-images", name) as folder:
        Image.new("RGB", (8, 8)).save(folder / "00.png")
    made = store.find("explicit-images", name)
    assert made is not None
    (made.folder / "00.png").write_bytes(b"torn")
    assert Store(tmp_path).find("explicit-images", name) is None
    (aside,) = (tmp_path / "damaged").iterdir()
    assert stat.S_IMODE(aside.stat().st_mode) == 0o700
    result = CliRunner().invoke(app, ["clean", "--explicit", "--runs", str(tmp_path)])
    assert "1 explicit pictures removed" in result.stdout
    assert not list((tmp_path / "damaged").iterdir())


@pytest.mark.usefixtures("standin", "few")
def test_revealed_sheet_is_private_and_logged(tmp_path: Path) -> None:
    sheet = whole(tmp_path, **I2P, reveal=True).paths["contact sheet"]
    assert sheet.parent == tmp_path / "artefacts" / "explicit-images" / "revealed"
    assert "i2p-bilevel" in (tmp_path / "revealed.txt").read_text()
    assert stat.S_IMODE((tmp_path / "artefacts" / "explicit-images").stat().st_mode) == 0o700


def sown(home: Path) -> list[Path]:
    """Explicit pictures wherever a run may have left some: kept, set aside, and about to be kept by a killed one."""
    places = ["artefacts/explicit-images/aa", "damaged/explicit-images-bb-1", f"tmp/{dead_name()}"]
    for place in places:
        (home / place).mkdir(parents=True)
        (home / place / "00.png").write_bytes(b"picture")
    return [home / place / "00.png" for place in places]


def test_clean_removes_explicit_images_that_are_damaged_or_left_by_a_kill(tmp_path: Path) -> None:
    pictures = sown(tmp_path)
    other = tmp_path / "damaged" / "images-cc-1" / "00.png"
    other.parent.mkdir()
    other.write_bytes(b"picture")
    result = CliRunner().invoke(app, ["clean", "--explicit", "--runs", str(tmp_path)])
    assert "2 explicit pictures removed" in result.stdout
    assert not any(path.exists() for path in pictures)
    assert other.exists()
    assert not list((tmp_path / "tmp").iterdir())


def test_clean_reports_images_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, *_ = sown(tmp_path)

    def never(path: str | Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", never)
    result = CliRunner().invoke(app, ["clean", "--explicit", "--runs", str(tmp_path)])
    assert result.exit_code == 2
    assert "permission denied" in result.stderr
    assert "removed" not in result.output
    assert kept.exists()


def test_clean_moves_artefacts_to_tmp_before_deleting_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sown(tmp_path)
    places: list[Path] = []
    monkeypatch.setattr(shutil, "rmtree", lambda path, *args, **kwargs: places.append(Path(path)))
    CliRunner().invoke(app, ["clean", "--explicit", "--runs", str(tmp_path)])
    assert {place.parent for place in places} == {tmp_path / "tmp"}
    assert not list(tmp_path.glob("artefacts/explicit-images"))


def test_blurring_hides_every_sign_from_the_detector() -> None:
    """The detector finds all signs in the pictures, and none in their blurred cells of a sheet."""
    scenes = [Scene("boat", emblem=k % 3) for k in range(12)]
    images = draw(scenes, torch.Generator().manual_seed(2)).images
    detector = scoring_networks.detector(WEIGHTS).detector
    arrays = [image.permute(1, 2, 0).numpy() for image in images]
    assert sum(bool(found) and found[0].score > 0.5 for found in detector(arrays)) == 12
    cells = []
    for array in arrays:
        sheet = contact_sheet({"": [array]}, [""], scale=1, resample="nearest", blurred=True)
        right, low = sheet.width - 16, sheet.height - 16
        cells.append(np.asarray(sheet.crop((right - 64, low - 64, right, low))))
    assert not any(found and found[0].score > 0.5 for found in detector(cells))
    assert Image.fromarray(cells[0]).size == (64, 64)
