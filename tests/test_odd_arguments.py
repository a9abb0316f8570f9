"""Odd arguments of commands that clean, prune, build and fill pages: one sentence, nothing lost, nothing waited for."""

import os
from pathlib import Path

import pytest
from test_cli import answer, bench

from benchmark.testbeds.mini.testbed import WEIGHTS

TABLE = "<!-- bench table -->\nold\n"


def picture(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "x.png").write_text("x")


def test_explicit_pictures_behind_a_link_are_removed_and_the_link_stays(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "key")
    (tmp_path / "runs" / "artefacts").mkdir(parents=True)
    link = tmp_path / "runs" / "artefacts" / "explicit-images"
    link.symlink_to(tmp_path / "elsewhere")
    result = bench("clean", "--explicit", "--runs", str(tmp_path / "runs"))
    assert (result.exit_code, result.stdout.split(" explicit")[0]) == (0, "1")
    assert link.is_symlink()
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["checksums/replaced.json", "artefacts/images/key/artefact.json"])
def test_a_pipe_in_the_runs_folder_does_not_keep_clean_waiting(name: str, tmp_path: Path) -> None:
    (tmp_path / "checksums").mkdir()
    (tmp_path / "checksums" / "replaced.json").write_text('{"a": {"now": "1", "before": ["2"]}}')
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    assert f"{tmp_path / name} is a pipe, not a file: move it away." in answer(
        bench("clean", "--unreachable", "--runs", str(tmp_path))
    )


def test_vectors_that_are_no_file_are_told_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, state in {
        "pipe": "is not a regular file",
        ".": "is not a regular file",
        "nothing": "does not exist",
    }.items():
        path = tmp_path / name
        complaint = answer(bench("prune", "published", str(path)))
        assert (
            f"{path} contains no architecture vectors (it {state}): give the quantizer's .safetensors file."
            in complaint
        )


@pytest.mark.parametrize(
    "words", [["prune", "aptp"], ["prune", "route", "x"], ["attack", "mma"], ["rehearse"], ["speed"]]
)
def test_a_runs_folder_that_cannot_be_written_is_told_before_the_work(words: list[str], monkeypatch) -> None:
    monkeypatch.setattr("benchmark.pipeline.setup.workbench_on", lambda *_, **__: pytest.fail("the work has begun"))
    assert "--runs /proc/x cannot be written" in answer(bench(*words, "--runs", "/proc/x"))


def test_weights_to_check_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name, state in {"file": "is not a folder", "nothing": "does not exist"}.items():
        words = ["testbed", "check", "mini", "--weights", str(tmp_path / name), "--out", str(tmp_path / "card")]
        assert f"{state}: name the folder that `bench testbed build` wrote." in answer(bench(*words))
    assert WEIGHTS.is_dir()


def test_a_build_does_not_mix_with_what_is_in_a_folder_already(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    words = ["testbed", "build", "mini", "--only", "tokenizer", "--out", str(tmp_path)]
    assert "has other things in it, and no build was begun there: give the build a new folder." in answer(bench(*words))
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            f"{TABLE}<!-- bench table 2 -->\nold\n<!-- end -->\n",
            "no `<!-- end -->` for its block `<!-- bench table -->`",
        ),
        (
            f"{TABLE}<!-- end -->\n\n<!-- bench table 2 -->\n",
            "no `<!-- end -->` for its block `<!-- bench table 2 -->`",
        ),
        (TABLE, "no `<!-- end -->` for its block `<!-- bench table -->`"),
        ("<!-- bench table --help -->\n<!-- end -->\n", "`bench table --help` prints no table: leave --help out."),
    ],
)
def test_a_page_whose_blocks_cannot_all_be_filled_stays_as_it_is(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text)
    assert sentence in answer(bench("page", str(tmp_path / "page.md")))
    assert (tmp_path / "page.md").read_text() == text


def test_a_link_to_a_page_stays_a_link_and_a_pipe_is_told(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"{TABLE}<!-- end -->\n")
    (tmp_path / "link.md").symlink_to("page.md")
    result = bench("page", str(tmp_path / "link.md"))
    assert (result.exit_code, result.stdout) == (0, f"1 table updated in {tmp_path / 'link.md'}\n")
    assert (tmp_path / "link.md").is_symlink()
    assert "old" not in (tmp_path / "page.md").read_text()
    os.mkfifo(tmp_path / "pipe.md")
    assert "is a pipe, not a file: move it away." in answer(bench("page", str(tmp_path / "pipe.md")))
