"""Pipes, sockets, link loops and folders in place of files are refused by path, and none of them blocks."""

import os
import socket
from pathlib import Path

import pytest
from record_examples import record, write
from test_cli import answer, bench

from benchmark.errors import DataError
from benchmark.records.record import read_record, read_records, read_scores
from benchmark.store.listing import visible
from benchmark.testbeds.stable_diffusion.captions import annotation_file


def pipe(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def bound_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)  # a socket's whole path may not be long
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


ODD = {"pipe": (pipe, "is a pipe, not a file: move it away."),
       "loop": (loop, "is a link that leads to itself, not a file: move it away."),
       "socket": (bound_socket, "is a socket, not a file: move it away.")}  # fmt: skip
NAMED = {
    "folder": (Path.mkdir, "is a folder: move it away."),
    "link to nothing": (lambda path: path.symlink_to("nothing"), "is a link to a missing file: move it away."),
}


@pytest.mark.parametrize(("make", "sentence"), (ODD | NAMED).values(), ids=ODD | NAMED)
@pytest.mark.parametrize("words", [["table"], ["compare", "bilevel", "esd"], ["figure", "losses"]], ids=" ".join)
def test_odd_file_in_the_records_folder_is_refused_by_path(words, make, sentence, tmp_path: Path) -> None:
    write(tmp_path / "records", record("bilevel"))
    make(tmp_path / "records" / "x.record.json")
    complaint = answer(bench(*words, "--runs", str(tmp_path)))
    assert str(tmp_path / "records" / "x.record.json") in complaint
    assert sentence in complaint


@pytest.mark.parametrize(("make", "sentence"), ODD.values(), ids=ODD)
def test_odd_file_in_any_listed_folder_is_refused(make, sentence, tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    make(tmp_path / "annotations" / "captions_val2017.json")
    with pytest.raises(DataError, match=sentence):
        annotation_file(tmp_path, "val")
    with pytest.raises(DataError, match=sentence):
        visible(tmp_path, "**/*")


def test_files_folders_and_links_are_listed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "other").symlink_to("nothing")
    assert [path.name for path in visible(tmp_path, "*")] == ["file", "folder", "link", "other"]


def test_scores_file_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    write(tmp_path, record("bilevel"))
    (scores,) = tmp_path.glob("*.parquet")
    scores.unlink()
    pipe(scores)
    with pytest.raises(DataError, match="is a pipe, not a file: move it away"):
        read_scores(read_records([tmp_path])[0])


def test_record_removed_during_reading_is_skipped(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path, record("bilevel"), record("esd"))

    def read(path: Path):
        if "esd" in path.name:
            path.unlink(missing_ok=True)
        return read_record(path)

    monkeypatch.setattr("benchmark.records.record.read_record", read)
    assert [kept.method for kept in read_records([tmp_path])] == ["bilevel"]


def test_folder_without_permission_to_list_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DataError, match=r"cannot be listed \(permission denied\): make it readable"):
        read_records([tmp_path])
