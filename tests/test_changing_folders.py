"""Folders are listed while another process adds and removes files in them, as two runs on one store do."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmark.cli.clean_runs import remove_broken_links
from benchmark.records import stored_runs
from benchmark.store import disk
from benchmark.store.listing import visible

CHANGES = """
import os, shutil, sys
parent = sys.argv[1]
print("ready", flush=True)
while True:
    temporary = os.path.join(parent, "a", "temporary")
    os.makedirs(os.path.join(temporary, "b"), exist_ok=True)
    for name in ("1.png", "2.png", "b/3.png"):
        with open(os.path.join(temporary, name), "w") as file:
            file.write("x")
    os.rename(temporary, os.path.join(parent, "a", "final"))
    shutil.rmtree(os.path.join(parent, "a"))
"""
SECONDS = 0.7


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Return a function that starts a process which keeps adding and removing files below a folder."""
    processes: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> None:
        folder.mkdir(parents=True)
        process = subprocess.Popen([sys.executable, "-c", CHANGES, str(folder)], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    yield start
    for process in processes:
        assert process.poll() is None, "the process that changes the folder has failed"
        process.kill()
        process.communicate()
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.parametrize(
    ("folder", "read"),
    [
        ("scratch/model", lambda home: disk.taken(home / "scratch")),
        ("scratch/model", lambda home: stored_runs.read_inventory(home)),
        ("records", lambda home: visible(home / "records", "**/*.png")),
    ],
    ids=["disk space of checkpoints", "list of runs", "list of files"],
)
def test_files_that_vanish_while_a_folder_is_read_do_not_matter(
    folder: str, read: Callable[[Path], object], changing: Callable[[Path], None], tmp_path: Path
) -> None:
    changing(tmp_path / folder)
    count, until = 0, time.monotonic() + SECONDS
    while time.monotonic() < until or count < 50:
        read(tmp_path)
        count += 1


def test_links_that_another_process_removes_at_the_same_time_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "images" / "esd"
    folder.mkdir(parents=True)
    for name in ("1.png", "2.png"):
        (folder / name).symlink_to("missing")
    exists = Path.exists

    def removed(path: Path) -> bool:
        if path.is_symlink():
            os.unlink(path)
        return exists(path)

    monkeypatch.setattr(Path, "exists", removed)
    remove_broken_links(tmp_path)
    assert not folder.is_dir()
