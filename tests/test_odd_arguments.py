"""Unusual arguments of the clean, prune, build and page commands: one sentence, no data lost, no waiting on a pipe."""

import os
from pathlib import Path

import pytest
from test_cli import answer, bench

from benchmark.store.artefacts import Store

TABLE = "<!-- bench table -->\nold\n"


def test_clean_removes_explicit_images_behind_a_link_but_not_the_link(tmp_path: Path) -> None:
    with Store(tmp_path / "runs").make("explicit-images", {"prompts": "x"}) as folder:
        (folder / "x.png").write_text("x")
    link = tmp_path / "runs" / "artefacts" / "explicit-images"
    link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "elsewhere")
    result = bench("clean", "--explicit", "--runs", str(tmp_path / "runs"))
    assert (result.exit_code, result.stdout.split(" explicit")[0]) == (0, "1")
    assert link.is_symlink()
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["checksums/replaced.json", "artefacts/images/key/artefact.json"])
def test_clean_refuses_a_pipe_in_the_runs_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "checksums").mkdir()
    (tmp_path / "checksums" / "replaced.json").write_text('{"a": {"now": "1", "before": ["2"]}}')
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    assert f"{tmp_path / name} is a pipe, not a file: move it away." in answer(
        bench("clean", "--unreachable", "--runs", str(tmp_path))
    )


def test_architecture_vectors_that_are_not_a_file_are_refused(tmp_path: Path) -> None:
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
def test_unwritable_runs_folder_is_refused_before_the_run(words: list[str], monkeypatch) -> None:
    monkeypatch.setattr("benchmark.pipeline.setup.workbench_on", lambda *_, **__: pytest.fail("the work has begun"))
    assert "--runs /proc/x cannot be written" in answer(bench(*words, "--runs", "/proc/x"))


def test_weights_to_check_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name, state in {"file": "is not a folder", "nothing": "does not exist"}.items():
        words = ["testbed", "check", "mini", "--weights", str(tmp_path / name), "--out", str(tmp_path / "card")]
        assert f"{tmp_path / name} {state}: name the folder that `bench testbed build` wrote." in answer(bench(*words))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # no card was written


def test_build_into_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    words = ["testbed", "build", "mini", "--only", "tokenizer", "--out", str(tmp_path)]
    assert "contains other files, and no build was started there: use a new folder." in answer(bench(*words))
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
def test_page_with_an_invalid_block_is_left_unchanged(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text)
    assert sentence in answer(bench("page", str(tmp_path / "page.md")))
    assert (tmp_path / "page.md").read_text() == text


def test_page_command_follows_links_and_refuses_pipes(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"{TABLE}<!-- end -->\n")
    (tmp_path / "link.md").symlink_to("page.md")
    result = bench("page", str(tmp_path / "link.md"))
    assert (result.exit_code, result.stdout) == (0, f"1 table updated in {tmp_path / 'link.md'}\n")
    assert (tmp_path / "link.md").is_symlink()
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("<!-- bench table -->\nTable 1 on mini")
    assert "\nold\n" not in page
    os.mkfifo(tmp_path / "pipe.md")
    pipe = tmp_path / "pipe.md"
    assert f"{pipe} is a pipe, not a file: move it away." in answer(bench("page", str(pipe)))
    assert pipe.is_fifo()  # it was not replaced by a file
