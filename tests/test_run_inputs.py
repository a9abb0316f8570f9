"""Wrong input to `bench run` gives exit code 2 and one helpful sentence, and leaves nothing half written."""

import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from standin import install
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.store import disk
from methods import sampling
from methods.training import loop

RUN = ["run", "--method", "bilevel", "--suite", "artists", "--device", "cpu"]
pytestmark = pytest.mark.usefixtures("standin", "idle")


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No U-Net may be called: wrong inputs are refused before the first second of work."""

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("refused too late")

    monkeypatch.setattr(sampling, "sample", never)
    monkeypatch.setattr(loop, "train", never)


def _last_of_each(words: list[str]) -> list[str]:
    """The command with the last value of each option, since a repeated option is refused; --set may be repeated."""
    kept: list[list[str]] = [[words[0]]]
    for word in words[1:]:
        if not word.startswith("--"):
            kept[-1].append(word)
            continue
        kept = [group for group in kept if group[0] != word or word == "--set"]
        kept.append([word])
    return [word for group in kept for word in group]


def refused(home: Path, *arguments: str) -> str:
    """The one sentence with which `bench` refuses."""
    result = CliRunner().invoke(app, _last_of_each([*RUN, "--runs", str(home), *arguments]))
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    said = [line for line in result.stderr.splitlines() if not line.startswith(("✓", "–", "↺"))]
    assert len(said) == 1, said
    assert said[0].startswith("error: ")
    assert said[0].endswith(".")
    return said[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "nonsense=1"], ["bilevel", "nonsense", "upper_rate"]),
        (["--set", "upper_rate=fast"], ["bilevel", "upper_rate", "number"]),
        (["--set", "batch=0"], ["batch", "greater"]),
        (["--set", "gamma=Infinity"], ["gamma", "finite"]),
        (["--set", "upper_rate=NaN"], ["upper_rate", "finite"]),
        (["--set", "upper_rate=1e999"], ["upper_rate", "finite"]),
        (["--set", "solver=penalti"], ["solver", "alternating"]),
        (["--preset", "papper"], ["papper", "default, paper, released"]),
        (["--budget", "1e999"], ["1e999", "such as 1e15"]),
        (["--budget", "9" * 400 + "h"], ["such as 2h"]),
        (["--budget", "9" * 5000 + "it"], ["such as 350it"]),
        (["--targets", " , "], ["an empty name"]),
        (["--budget", "1000"], ["1e+03 FLOPs", "concept images", "give at least"]),
        (["--targets", "Monet,Claude Monet"], ["Claude Monet"]),
        (["--device", "quantum"], ["--device quantum", "--device cpu"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_wrong_option_is_refused_before_any_work(arguments: list[str], told: list[str], tmp_path: Path) -> None:
    said = refused(tmp_path / "runs", *arguments)
    assert all(word in said for word in told), said
    assert not list((tmp_path / "runs").glob("artefacts/*/*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_absent_cuda_is_refused(tmp_path: Path) -> None:
    assert "--device cuda cannot be used on this machine" in refused(tmp_path, "--device", "cuda")


@pytest.mark.parametrize("way", ["file", "denied"])
def test_runs_folder_that_cannot_be_written_is_refused(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "runs"
    if way == "file":
        home.write_text("not a folder")
    else:  # root ignores mode bits, so the system's answer is played

        def denied(path: object, *rest: object, **more: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("os.mkdir", denied)
    said = refused(home)
    assert str(home) in said
    assert "PALIMPSEST_HOME" in said


def test_full_disk_is_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    said = refused(tmp_path)
    assert "1.0 MB free" in said
    assert re.search(r"This run needs about \d+\.\d MB", said)


@pytest.mark.parametrize(
    "name",
    ["pipeline/unet/diffusion_pytorch_model.safetensors", "clip/open_clip_model.safetensors", "oracle.safetensors",
     "manifest.json", "pipeline/scheduler/scheduler_config.json"],
)  # fmt: skip
@pytest.mark.parametrize("way", ["truncated", "missing"])
def test_damaged_weights_of_the_testbed_are_refused(
    name: str, way: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "weights"
    shutil.copytree(weights, damaged)
    install(damaged, monkeypatch.setattr)
    path = damaged / name
    if way == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said = refused(tmp_path / "runs")
    assert str(path) in said
    assert "bench testbed build mini" in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--macs", "0.01"], "1.0% of MACs cannot be reached"),
        (
            ["--method", "distilled", "--budget", "1e6"],
            "does not cover one step of each stage of 'distilled': give at least",
        ),
    ],
    ids=["macs", "budget"],
)
def test_unreachable_macs_or_budget_is_refused(
    arguments: list[str], told: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the base's pictures are made before
    install(weights, monkeypatch.setattr)
    monkeypatch.setattr("standin.ASKED", {"coco": 2})
    assert told in refused(tmp_path / "runs", *arguments, "--alone", "--suite", "coco")


BROKEN = """
from methods.distilled import Distilled, DistilledConfig

class Nan(Distilled):
    name = "nan"
    def fit(self, student, *told):
        next(student.parameters()).data.fill_(float("nan"))
        return student

class Huge(Distilled):
    name = "huge"
    def fit(self, student, *told):
        next(student.parameters()).data.fill_(1e6)
        return student

class Layer(Distilled):
    name = "layer"
    def fit(self, student, *told):
        return student.conv_in

class Nothing(Distilled):
    name = "nothing"
    def fit(self, student, *told):
        pass

class Wider(Distilled):
    name = "wider"
    def fit(self, student, *told):
        student.adapter = __import__("torch").nn.Linear(2, 2)
        return student

class Narrower(Distilled):
    name = "narrower"
    def fit(self, student, *told):
        resnet = student.mid_block.resnets[0]
        resnet.conv1.weight.data = resnet.conv1.weight.data[:1]
        return student
"""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Nan", "not finite ('conv_in.weight'"),
        ("Huge", "not finite ('conv_in.weight' and 0 more) in the half precision"),
        ("Layer", "returned Conv2d"),
        ("Nothing", "returned NoneType"),
        ("Wider", "differs from the one it received ('adapter.bias' was added"),
        ("Narrower", "differs from the one it received ('mid_block.resnets.0.conv1.weight' was added"),
    ],
)
def test_broken_model_of_a_method_is_refused_and_not_stored(name: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(BROKEN)
    assert told in refused(tmp_path / "runs", "--method", f"{path}:{name}", "--alone", "--suite", "coco")
    kept = [file.read_text() for file in (tmp_path / "runs").glob("artefacts/model/*/artefact.json")]
    assert not [text for text in kept if f'"{name.lower()}"' in text]


def test_broken_method_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("class Eraser:\n    def fit(self\n")
    assert "SyntaxError" in refused(tmp_path / "runs", "--method", f"{path}:Eraser")
    path.write_text("class Eraser:\n    pass\n")
    assert "Did you mean 'Eraser'" in refused(tmp_path / "runs", "--method", f"{path}:Erasor")
