"""A runs folder that is shared with others leads to nothing outside: nothing there is deleted, moved, shown or run."""

import json
import os
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image
from record_examples import record, write
from test_cli import answer, bench

from benchmark import registry
from benchmark.cli.app import app
from benchmark.errors import DataError, RecordError
from benchmark.figures.tradeoff import _line_and_strength
from benchmark.generation.shards import read_shard
from benchmark.records.record import SUFFIX, read_record, read_records
from benchmark.report.stored_pictures import data_uri, find_picture
from benchmark.store import durable, manifest
from benchmark.store.artefacts import Store
from benchmark.tables.picture_scores import kept_names_of
from benchmark.tables.table import Row

ROOT = Path(__file__).parents[1]
MODEL = {"method": "esd", "seed": 0}


def artefact(home: Path, kind: str = "images", name: str = "x") -> Path:
    with Store(home).make(kind, {"prompts": name}) as folder:
        (folder / "00.png").write_bytes(b"picture")
    (made,) = (home / "artefacts" / kind).iterdir()
    return made


def edited(folder: Path, **changes: object) -> Path:
    """Write a record with changed fields, as a stranger could."""
    write(folder, record("bilevel"))
    (path,) = folder.glob(f"*{SUFFIX}")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


# links


@pytest.mark.parametrize("level", ["artefacts", "images"])
def test_clean_deletes_nothing_behind_a_link_that_leaves_the_store(level: str, tmp_path: Path) -> None:
    made = artefact(tmp_path / "elsewhere")
    home = tmp_path / "runs"
    (home / "artefacts").mkdir(parents=True)
    if level == "artefacts":
        (home / "artefacts").rmdir()
        (home / "artefacts").symlink_to(tmp_path / "elsewhere" / "artefacts")
    else:
        (home / "artefacts" / "images").symlink_to(made.parent)
    result = bench("clean", "--kind", "stages", "--yes", "--runs", str(home))
    assert (result.exit_code, made.is_dir()) == (0, True)
    assert "is behind a link that leads out of" in result.stdout
    assert "so it is not deleted: delete it where the link leads." in result.stdout


def test_clean_removes_a_link_in_place_of_an_artefact_and_not_what_it_leads_to(tmp_path: Path) -> None:
    made = artefact(tmp_path / "runs")
    made.rename(tmp_path / "elsewhere")
    made.symlink_to(tmp_path / "elsewhere")
    result = bench("clean", "--kind", "stages", "--yes", "--runs", str(tmp_path / "runs"))
    assert result.exit_code == 0, result.output
    assert not made.is_symlink()
    assert (tmp_path / "elsewhere" / "00.png").read_bytes() == b"picture"


def test_clean_of_explicit_images_spares_what_the_store_did_not_write_behind_a_link(tmp_path: Path) -> None:
    made = artefact(tmp_path / "elsewhere", "explicit-images")
    others = [made.parent / "Documents", made.parent / ("a" * 20)]
    for folder in others:
        folder.mkdir()
        (folder / "thesis.png").write_text("x")
    home = tmp_path / "runs"
    (home / "artefacts").mkdir(parents=True)
    (home / "artefacts" / "explicit-images").symlink_to(made.parent)
    result = bench("clean", "--explicit", "--runs", str(home))
    assert (result.exit_code, made.exists()) == (0, False)
    assert all((folder / "thesis.png").exists() for folder in others)
    assert "which this store did not write" in result.stdout
    assert "1 explicit pictures removed" in result.stdout


def test_clean_of_records_spares_records_behind_a_link(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", record("bilevel"))
    home = tmp_path / "runs"
    home.mkdir()
    (home / "records").symlink_to(tmp_path / "elsewhere")
    result = bench("clean", "bilevel", "--records", "--yes", "--runs", str(home))
    assert "so it is not deleted" in result.stdout
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2


def test_opening_a_store_deletes_no_folder_behind_a_link(tmp_path: Path) -> None:
    """Scratch folders of finished artefacts are removed; this name is that of a folder of the user."""
    (tmp_path / "home" / "Documents").mkdir(parents=True)
    (tmp_path / "runs" / "scratch").mkdir(parents=True)
    (tmp_path / "runs" / "artefacts" / "images" / "Documents").mkdir(parents=True)
    (tmp_path / "runs" / "scratch" / "images").symlink_to(tmp_path / "home")
    Store(tmp_path / "runs")
    assert (tmp_path / "home" / "Documents").is_dir()


def test_damaged_artefact_behind_a_link_is_not_moved(tmp_path: Path, caplog) -> None:
    made = artefact(tmp_path / "elsewhere")
    (made / "00.png").write_bytes(b"torn")
    (tmp_path / "runs" / "artefacts").mkdir(parents=True)
    (tmp_path / "runs" / "artefacts" / "images").symlink_to(made.parent)
    assert Store(tmp_path / "runs").find("images", {"prompts": "x"}) is None
    assert made.is_dir()
    assert "cannot be moved away" in caplog.text


def test_broken_links_and_empty_folders_outside_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "empty").mkdir(parents=True)
    (tmp_path / "elsewhere" / "a.png").symlink_to("nothing")
    artefact(tmp_path / "runs")
    (tmp_path / "runs" / "images").symlink_to(tmp_path / "elsewhere")
    for words in (["--kind", "stages", "--yes"], ["--explicit"]):
        assert bench("clean", *words, "--runs", str(tmp_path / "runs")).exit_code == 0
    assert (tmp_path / "elsewhere" / "empty").is_dir()
    assert (tmp_path / "elsewhere" / "a.png").is_symlink()


def test_report_shows_no_private_picture_that_a_link_in_a_shared_store_leads_to(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "private.png")
    folder = tmp_path / "runs" / "images" / "esd" / "artists"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "own.png")
    (folder / "link.png").symlink_to(tmp_path / "private.png")
    assert find_picture(folder, "link", 0) is None
    assert find_picture(folder, "../../private", 0) is None
    assert find_picture(folder, "own", 0) is not None


# manifests


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {"../../../secret": {"sha256": "0" * 64, "bytes": 6}}},
        {"files": {"/etc/passwd": {"sha256": "0" * 64, "bytes": 6}}},
        {"files": []},
        {"files": {"00.png": 5}},
        {"identity": []},
        {"made": "x"},
        {"kind": 5},
        {"extra": float("nan")},
    ],
    ids=str,
)
def test_manifest_with_hostile_fields_counts_as_damage(changes: dict, tmp_path: Path) -> None:
    """The seal is correct, because anybody can compute it."""
    made = artefact(tmp_path)
    header = json.loads((made / manifest.MANIFEST).read_text()) | changes
    header.pop("seal")
    if "extra" not in changes:
        header["seal"] = manifest._digest_of(header)
    (made / manifest.MANIFEST).write_text(json.dumps(header))
    with pytest.raises(manifest.Damage):
        manifest.read_seal(made)
    assert Store(tmp_path).find("images", {"prompts": "x"}) is None


def test_deeply_nested_manifest_and_claim_are_ignored(tmp_path: Path) -> None:
    made = artefact(tmp_path)
    (made / manifest.MANIFEST).write_text("[" * 10**5)
    (tmp_path / "claims").mkdir(exist_ok=True)
    (tmp_path / "claims" / "model-a.json").write_text("[" * 10**5)
    result = bench("list", "runs", "--runs", str(tmp_path))
    assert result.exit_code == 0, result.output


# records


@pytest.mark.parametrize("name", ["../../victim.parquet", "/tmp/victim.parquet", "..", "victim.txt", "a\\b.parquet"])
def test_record_whose_scores_are_elsewhere_is_refused_and_deletes_nothing(name: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim.parquet"
    victim.write_text("x")
    path = edited(tmp_path / "runs" / "records", scores={"file": name, "sha256": "0" * 64, "rows": 0})
    with pytest.raises(RecordError, match=r"is damaged \(scores\.file"):
        read_record(path)
    write(tmp_path / "runs" / "records", record("bilevel"))  # replaces the record and removes its scores
    assert victim.exists()


MARK = """
import pathlib
pathlib.Path({mark!r}).touch()
class Evil:
    strength = "rate"
    reads_kept_names = False
"""


def test_code_file_that_a_record_names_is_not_run(tmp_path: Path) -> None:
    mark, code = tmp_path / "mark", tmp_path / "evil.py"
    code.write_text(MARK.format(mark=str(mark)))
    evil = record("esd").model_copy(update={"method": f"{code}:Evil", "label": "Evil", "variant": "rate=2"})
    write(tmp_path / "records", evil, record("bilevel"))
    assert kept_names_of(evil) is None
    assert _line_and_strength(Row("Evil", "local", evil, {})) == (f"{code}:Evil", "rate=2")
    for words in (
        ["table", "--long"], ["compare", "Evil", "bilevel", "--long"], ["show", "Evil"],
        ["figure", "tradeoff", "--out", str(tmp_path / "a.png")],
        ["report", "--out", str(tmp_path / "report")],
    ):  # fmt: skip
        bench(*words, "--records", str(tmp_path / "records"))  # the committed ones would take seconds
        assert not mark.exists(), words
    assert bench("list", "runs", "--runs", str(tmp_path)).exit_code == 0
    assert not mark.exists()
    assert (tmp_path / "report" / "index.html").exists()


def test_attributes_of_a_record_s_method_are_read_from_its_file_and_the_files_beside_it(tmp_path: Path) -> None:
    """Tables group and average rows by them, so a parent class must not be overlooked."""
    (tmp_path / "parents.py").write_text("class Parent:\n    strength, reads_kept_names = 'rate', False\n")
    (tmp_path / "own.py").write_text("from parents import Parent\nclass Own(Parent): ...\n")
    (tmp_path / "ours.py").write_text("from methods.esd import Esd\nclass Ours(Esd): ...\n")
    for name in ("own.py:Own", "ours.py:Ours"):
        path = str(tmp_path / name)
        assert registry.declared("methods", path, "strength", "") == "rate"
        assert registry.declared("methods", path, "reads_kept_names", True) is False
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    "changes",
    [
        {"label": "\x1b[2J\x1b]0;owned\x07"},
        {"label": "two\nlines"},
        {"variant": "\x9b31m"},
        {"method": "a\u202ecb"},
        {"concept": {"targets": ["\x1b[31m"]}},
        {"command": ["bench", "\x1b[8m"]},
        {"cells": {"a\x1b": {}}},
    ],
    ids=repr,
)
def test_record_with_control_characters_is_refused_and_the_error_prints_none(changes: dict, tmp_path: Path) -> None:
    edited(tmp_path / "records", **changes)
    complaint = answer(bench("table", "--runs", str(tmp_path)))
    assert "contains control characters): move it away" in complaint
    assert complaint.rstrip("\n").isprintable()


def test_control_characters_in_file_names_are_shown_as_escapes(tmp_path: Path) -> None:
    complaint = answer(bench("eval", "--checkpoint", str(tmp_path / "a\x1b[2J.txt"), "--suite", "artists"))
    assert "\\x1b[2J" in complaint
    assert "\x1b" not in complaint


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"seed": 10**400}, "seed: Input should be less than"),
        ({"macs": 1e300}, "macs"),
        ({"cells": {"clip": {"value": 1e999}}}, "cells"),
        ({"budget": {"flops": "9" * 50}}, "flops is not a number"),
        ({"images": 5}, "images"),
        ({"concept": {"targets": "x"}}, "targets is not a list"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_record_with_absurd_values_is_refused(changes: dict, where: str, tmp_path: Path) -> None:
    edited(tmp_path, **changes)
    with pytest.raises(RecordError, match=where):
        read_records([tmp_path])


def test_deeply_nested_or_gigantic_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"a{SUFFIX}"
    path.write_text("[" * 10**6)
    with pytest.raises(RecordError, match="it is not JSON"):
        read_record(path)
    with path.open("wb") as opened:
        opened.truncate(1 << 40)  # takes no space on the disk
    with pytest.raises(RecordError, match="has more than 67,108,864 bytes: move it away"):
        read_record(path)


# pictures of a store


def bomb(path: Path, side: int) -> None:
    """Write a small PNG whose header claims side x side pixels."""
    Image.new("1", (1, 1)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)


@pytest.mark.parametrize("side", [9_000, 2**30])
def test_decompression_bomb_in_a_store_is_refused_in_one_sentence(side: int, tmp_path: Path) -> None:
    bomb(tmp_path / "00.png", side)
    with pytest.raises(DataError, match="is not a picture of a model"):
        read_shard(tmp_path, 1)
    with pytest.raises((ValueError, Image.DecompressionBombError)):
        data_uri(tmp_path / "00.png", blurred=False)


# private folders


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o277, 0o777])
def test_explicit_images_are_private_under_every_umask(mask: int, tmp_path: Path) -> None:
    """A process with this umask makes the folders in which pictures are written; its other folders exist already."""
    for name in ("tmp", "artefacts/explicit-images", "claims", "scratch/explicit-images", "damaged"):
        (tmp_path / name).mkdir(parents=True)
    old = os.umask(mask)
    try:
        with Store(tmp_path).make("explicit-images", {"prompts": "x"}) as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            (folder / "00.png").write_bytes(b"picture")
            os.chmod(folder / "00.png", 0o600)
            (folder / manifest.MANIFEST).touch(0o600)
            os.chmod(folder / manifest.MANIFEST, 0o600)
    finally:
        os.umask(old)
    (made,) = (tmp_path / "artefacts" / "explicit-images").iterdir()
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (made, made.parent)} == {0o700}


def test_temporary_folders_of_other_artefacts_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        assert stat.S_IMODE(durable.temporary_folder(tmp_path).stat().st_mode) == 0o750
    finally:
        os.umask(old)


def test_full_memory_is_reported_in_one_sentence(monkeypatch) -> None:
    def fill(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("benchmark.store.paths.home", fill)
    monkeypatch.setattr("benchmark.cli.options.kept_home", fill)
    assert "the main memory is full: close other programs, or give smaller files." in answer(bench("table"))


def test_command_line_starts_without_code_in_the_working_folder(tmp_path: Path) -> None:
    """A file with the name of a module of ours or of Python's in the folder of a campaign is not imported."""
    for name in ("json", "torch", "prompts", "benchmark"):
        (tmp_path / f"{name}.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'mark')!r}).touch()\n")
    script = Path(sys.executable).with_name("bench")
    subprocess.run([script, "list", "methods"], cwd=tmp_path, capture_output=True, check=False)
    assert not (tmp_path / "mark").exists()
    assert app is not None
