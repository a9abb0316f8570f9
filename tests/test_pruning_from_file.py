"""A pruning of one's own, from a file: its row, its key, and what is refused."""

import json
from pathlib import Path

import pytest
from standin import ASKED
from test_pruners import bench, refused

from benchmark.console import Progress
from benchmark.models import Pruned
from benchmark.request import RunRequest
from benchmark.run import workbench_for

OWN = """
from functools import partial

from methods.pruning import random

def other(unet, macs, latent_size, text_length):
    return random.prune(unet, macs, latent_size, text_length, seed=1)

third = partial(random.prune, seed=2)

def short(unet):
    return unet

def nothing(unet, macs, latent_size, text_length):
    return unet

def whole(unet, macs, latent_size, text_length):
    return unet, random.prune(unet, 1, latent_size, text_length)[1]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def run(own: Path, name: str, *more: str) -> list[str]:
    asked = ["run", "--method", "distilled", "--suite", "coco", "--macs", "0.7", "--budget", "1it", *more]
    return [*asked, "--pruning", f"{own}:{name}", "--runs", str(own.parent / "runs")]


def test_a_pruning_of_ones_own_has_no_row(standin: Path, own: Path) -> None:
    done = bench(*run(own, "other"))
    assert done.exit_code == 0, done.output
    told = bench("table", "--pruning", f"{own}:other", "--suite", "coco", "--all", "--format", "json", "--runs",
                 str(own.parent / "runs"), "--records", str(own.parent / "runs" / "records"))  # fmt: skip
    rows = json.loads(told.stdout)["rows"]
    assert [row["pruning"] for row in rows if row["method"] == "distilled"] == [f"{own}:other"]
    assert [row["cells"]["fid"]["n"] for row in rows if row["method"] == "distilled"] == [ASKED["coco"]]


def test_a_file_that_was_moved_is_another_pruning_or_one_that_was_edited_the_same(
    standin: Path, own: Path, tmp_path: Path
) -> None:
    place = workbench_for(RunRequest("distilled", "coco", device="cpu"), tmp_path, Progress())
    moved = tmp_path / "elsewhere" / "other_name.py"
    moved.parent.mkdir()
    moved.write_text(OWN)
    first = Pruned(f"{own}:other", 0.7).identity(place)
    assert Pruned(f"{moved}:other", 0.7).identity(place) == first
    assert Pruned(f"{own}:third", 0.7).identity(place) != first
    moved.write_text(OWN + "# tried something\n")
    assert Pruned(f"{moved}:other", 0.7).identity(place) != first


def test_a_pruning_that_takes_or_gives_something_else_ends_in_a_traceback(standin: Path, own: Path) -> None:
    assert "takes too little" in refused(bench(*run(own, "short")))
    assert "must return a smaller copy" in refused(bench(*run(own, "nothing")))
    assert "returned the base itself" in refused(bench(*run(own, "whole")))
    assert "Unknown function in" in refused(bench(*run(own, "othr")))
    assert "There is no file" in refused(bench(*run(own.with_name("gone.py"), "other")))
