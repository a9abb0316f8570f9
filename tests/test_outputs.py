"""Output paths given by the user are checked before the run, and each error names the option to change."""

import os
import tempfile
from pathlib import Path

import pytest
from test_cli import answer, bench

from benchmark.errors import StoreError, UsageError
from benchmark.store.outputs import check_file, check_folder

FILES = (["figure", "tradeoff"], ["figure", "losses"], ["figure", "7"], ["attack", "mma"], ["rehearse"], ["speed"])
FOLDERS = (["study", "init"], ["testbed", "build", "mini"], ["testbed", "check", "mini"])
WRITERS = {"attack": ".csv", "figure": ".png"}


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No command may come as far as asking for its testbed or its records."""
    monkeypatch.chdir(tmp_path)
    for place in ("pipeline.setup.workbench_on", "tables.select.gather", "experiments.campaign.conduct",
                  "testbeds.mini.build.build", "testbeds.mini.check.check"):  # fmt: skip
        monkeypatch.setattr(f"benchmark.{place}", lambda *_, **__: pytest.fail("the work has begun"))


@pytest.mark.parametrize("words", FILES, ids=" ".join)
def test_unwritable_output_file_is_refused_before_the_run(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    suffix = WRITERS.get(words[0], ".json")
    for out, sentence in {
        str(tmp_path): f"--out {tmp_path} is a folder: name a file in it.",
        f"taken/x{suffix}": "which is not a folder: give a different --out.",
        f"/proc/x/y{suffix}": f"--out /proc/x/y{suffix} cannot be written (",
    }.items():
        assert sentence in answer(bench(*words, "--out", out))
    assert sorted(os.listdir()) == ["taken"]


@pytest.mark.parametrize("words", FOLDERS, ids=" ".join)
def test_unwritable_output_folder_is_refused_before_the_run(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    for out, sentence in {
        "taken": "--out taken is not a folder: give a different --out.",
        "taken/x": "which is not a folder: give a different --out.",
        "/proc/x": "--out /proc/x cannot be written (",
    }.items():
        assert sentence in answer(bench(*words, "--out", out))
    assert sorted(os.listdir()) == ["taken"]


@pytest.mark.parametrize(
    ("words", "out", "endings"),
    [
        (["figure", "tradeoff"], "x.csv", ".png, .svg or .pdf"),
        (["figure", "7"], "x.pgf", ".png, .svg or .pdf"),
        (["attack", "mma"], "x.json", ".csv"),  # where its rates go
    ],
)
def test_unsupported_file_extension_is_refused(words: list[str], out: str, endings: str) -> None:
    assert answer(bench(*words, "--out", out)) == f"error: --out {out} must end in {endings}.\n"


def test_output_path_of_a_non_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "x.csv").mkdir()
    for path in (tmp_path / "pipe.json", tmp_path / "loop.json", Path("/dev/null")):
        with pytest.raises(UsageError, match=r"is not a regular file: give a different --out\.$"):
            check_file(path)
    with pytest.raises(UsageError, match=r"writes .*x\.csv, which exists but is not a regular file"):
        check_file(tmp_path / "x.png", beside=".csv")


def test_full_disk_error_advises_a_different_output_path(tmp_path: Path, monkeypatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    sentence = r"cannot be written \(no space left on device\): give a different --out\.$"
    for check in (check_file, check_folder):
        with pytest.raises(StoreError, match=sentence):
            check(tmp_path / "x")
    with pytest.raises(StoreError, match=r"The page .* make its folder writable, or copy it elsewhere\.$"):
        check_file(tmp_path / "page.md", "The page")


def test_new_paths_and_replaceable_files_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "old.PNG").write_text("x")
    assert check_file(tmp_path / "old.PNG", suffixes=(".png",)) == tmp_path / "old.PNG"
    assert check_file(tmp_path / "a" / "b" / "new.json")
    assert check_folder(tmp_path / "c" / "d")
    assert sorted(os.listdir(tmp_path)) == ["old.PNG"]
