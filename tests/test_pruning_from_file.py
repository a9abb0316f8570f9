"""A pruning from a file gets its own row and key, and a wrong one is refused."""

import json
from pathlib import Path

import pytest
from standin import ASKED
from test_prunings import bench, refused

from benchmark.api.request import Runtime
from benchmark.console import Progress
from benchmark.models.pruned import Pruned
from benchmark.pipeline.setup import workbench_for

OWN = """
from functools import partial

from methods.pruning import random

def other(unet, macs, latent_size, text_length):
    return random.prune(unet, macs, latent_size, text_length, seed=1)

third = partial(random.prune, seed=2)

def short(unet):
    return unet

def odd(unet, macs, latent_size, text_length, images):
    return other(unet, macs, latent_size, text_length)

def nothing(unet, macs, latent_size, text_length):
    return unet

def mixed(unet, macs, latent_size, text_length):
    return other(unet, macs, latent_size, text_length)[0], third(unet, macs, latent_size, text_length)[1]

def idle(unet, macs, latent_size, text_length):
    return random.prune(unet, 1, latent_size, text_length)

def bare(unet, macs, latent_size, text_length):
    from methods.pruning.architecture import Architecture
    from methods.pruning.depth import droppable
    gone = [name for name in droppable(unet) if "attentions" in name]
    architecture = Architecture.of(unet, Architecture.full(unet).kept(), gone)
    return architecture.apply(unet), architecture

def shown(unet, macs, latent_size, text_length, pictures):
    return other(unet, macs, latent_size, text_length)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def run(own: Path, name: str, *more: str) -> list[str]:
    asked = ["run", "--method", "distilled", "--suite", "coco", "--macs", "0.7", "--budget", "1it", *more]
    return [*asked, "--pruning", f"{own}:{name}", "--runs", str(own.parent / "runs")]


def test_pruning_from_a_file_gets_its_own_row(standin: Path, own: Path) -> None:
    done = bench(*run(own, "other"))
    assert done.exit_code == 0, done.output
    told = bench("table", "--pruning", f"{own}:other", "--suite", "coco", "--all", "--format", "json", "--runs",
                 str(own.parent / "runs"), "--records", str(own.parent / "runs" / "records"))  # fmt: skip
    rows = json.loads(told.stdout)["rows"]
    assert [row["pruning"] for row in rows if row["method"] == "distilled"] == [f"{own}:other"]
    assert [row["cells"]["fid"]["n"] for row in rows if row["method"] == "distilled"] == [ASKED["coco"]]


def test_moved_file_is_the_same_pruning_and_an_edited_file_another(standin: Path, own: Path, tmp_path: Path) -> None:
    place = workbench_for(Runtime(device="cpu"), tmp_path, Progress())
    moved = tmp_path / "elsewhere" / "other_name.py"
    moved.parent.mkdir()
    moved.write_text(OWN)
    first = Pruned(f"{own}:other", 0.7).identity(place)
    assert Pruned(f"{moved}:other", 0.7).identity(place) == first
    assert Pruned(f"{own}:third", 0.7).identity(place) != first
    moved.write_text(OWN + "# tried something\n")
    assert Pruned(f"{moved}:other", 0.7).identity(place) != first


def test_pruning_with_wrong_arguments_or_results_is_refused(standin: Path, own: Path) -> None:
    for name in ("short", "odd"):
        assert "does not have the parameters of prunings" in refused(bench(*run(own, name)))
    assert "must return a smaller copy" in refused(bench(*run(own, "nothing")))
    assert "an Architecture that does not fit its U-Net" in refused(bench(*run(own, "mixed")))
    assert "kept 100.0% of MACs; 70.0% were requested" in refused(bench(*run(own, "idle")))
    assert not list((own.parent / "runs").glob("artefacts/pruned/*"))
    assert "Unknown function in" in refused(bench(*run(own, "othr")))
    estimated = ["estimate", *run(own, "othr")[1:-2]]
    assert "Unknown function in" in refused(bench(*estimated))
    assert "does not exist" in refused(bench(*run(own.with_name("gone.py"), "other")))


@pytest.mark.parametrize("method", ["uce", "conceptprune", "esd"])
def test_network_that_a_method_cannot_edit_is_refused_before_training(
    standin: Path, own: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr("benchmark.models.pruned.FAR", 1.0)
    words = [
        "run",
        "--method",
        method,
        "--suite",
        "artists",
        "--pruning",
        f"{own}:bare",
        "--macs",
        "0.7",
        "--budget",
        "4e11",
    ]
    assert "This U-Net has no" in refused(bench(*words, "--runs", str(own.parent / "runs")))
    assert list((own.parent / "runs").glob("artefacts/pruned/*"))
    assert not list((own.parent / "runs").glob("artefacts/model/*"))


def test_cost_of_a_pruning_that_reads_pictures_is_left_unknown(standin: Path, own: Path, tmp_path: Path) -> None:
    place = workbench_for(Runtime(device="cpu"), tmp_path, Progress())
    assert Pruned(f"{own}:other", 0.7).counted(place)["spent"] == 0
    assert "spent" not in Pruned(f"{own}:shown", 0.7).counted(place)


def test_pruning_file_name_that_a_plan_cannot_hold_is_refused(own: Path, tmp_path: Path) -> None:
    for name in ("my file.py", "a#b.py", "it's.py"):
        (tmp_path / name).write_text(OWN)
        asked = ["study", "pruning", "--prunings", f"{tmp_path / name}:other", "--runs", str(tmp_path / "runs")]
        assert "cannot contain the path" in refused(bench(*asked))
