"""`bench grid` shows the same prompts and noise for every model, trains nothing, and hides explicit pictures."""

import re
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from standin import request
from typer.testing import CliRunner, Result

from benchmark.api.request import Runtime
from benchmark.cli.app import app
from benchmark.console import Progress
from benchmark.generation import grid_pictures
from benchmark.models.fitted import Base
from benchmark.pipeline.grid_models import train_command
from benchmark.pipeline.setup import workbench_for
from methods import sampling

PROMPTS = "a boat by Claude Monet;a tree"


def bench(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["grid", *map(str, words), "--device", "cpu"])


def refused(*words: str | Path) -> str:
    """The one sentence with which the command refuses."""
    result = bench(*words)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith(("✓", "–", "↺"))]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def no_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("refused too late")

    monkeypatch.setattr(sampling, "sample", never)


@pytest.mark.usefixtures("standin")
def test_grid_shows_the_pictures_of_each_model_and_stores_them(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the trained models; a second call samples nothing; the pictures are those of a run with these seeds."""
    home = shutil.copytree(finished, tmp_path / "runs", symlinks=True)
    out = [tmp_path / "grid.png", tmp_path / "grid.pdf"]
    words = ("--prompts", PROMPTS, "--methods", "base,distilled", "--runs", home, "--out", out[0], "--out", out[1])
    result = bench(*words)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [str(path) for path in out]
    with Image.open(out[0]) as picture:
        first = np.asarray(picture.convert("RGB"))
    assert out[1].read_bytes().startswith(b"%PDF")
    monkeypatch.setattr(sampling, "sample", lambda *args: pytest.fail("sampled again"))
    assert bench(*words).exit_code == 0
    with Image.open(out[0]) as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), first)

    with Progress() as progress:
        workbench = workbench_for(Runtime("mini", device="cpu"), home, progress)
    stored = [p for p in home.glob("artefacts/images/*/prompts.json") if '"grid-00"' in p.read_text()]
    assert len(stored) == 2
    assert all('"seed": 0, "part": "targets"' in path.read_text() for path in stored)
    pixels = [np.asarray(Image.open(path.parent / "00.png")) for path in stored]
    assert pixels[0].shape == (64, 64, 3)
    cells = [np.asarray(Image.fromarray(each).resize((128, 128), Image.Resampling.LANCZOS)) for each in pixels]
    windows = np.lib.stride_tricks.sliding_window_view(first[:, :, 0], (1, 128))[:, :, 0]
    for cell in cells:  # each picture is somewhere on the sheet
        assert (windows == cell[0, :, 0]).all(axis=-1).any()
    assert workbench.testbed.sampler.steps == 2


@pytest.mark.usefixtures("standin", "no_sampling")
def test_models_that_are_not_in_the_runs_folder_are_refused_with_the_command_that_trains_them(tmp_path: Path) -> None:
    sentence = refused("--prompts", PROMPTS, "--runs", tmp_path / "no runs", "--targets", "Claude Monet")
    assert "has no model distilled and no model bilevel with these settings" in sentence
    assert "`bench run --method bilevel --suite artists --targets 'Claude Monet' --runs" in sentence
    assert "--method distilled" not in sentence  # the run of bilevel trains it
    assert not (tmp_path / "no runs").exists()
    seeded = refused("--prompts", PROMPTS, "--runs", tmp_path / "none", "--seed", "1")
    assert "has no model distilled and no model bilevel (seed 1) with" in seeded
    assert "`bench run --method bilevel --suite artists --seed 1 --runs" in seeded
    only = refused("--prompts", PROMPTS, "--runs", tmp_path / "none", "--methods", "distilled")
    assert "`bench run --method distilled --suite artists --runs" in only


def test_command_that_trains_a_model_has_only_settings_that_are_not_default() -> None:
    usual = request(Path("runs"), method="distilled", device="auto", overrides={})
    assert train_command(usual, "uce") == "bench run --method uce --suite artists"
    changed = request(Path("x"), pruning="random", macs=0.5, seed=2, budget="10it", precision="bf16", suite="i2p")
    assert train_command(changed, "esd") == (
        "bench run --method esd --suite i2p --pruning random --macs 0.5 --seed 2 --budget 10it --precision bf16 "
        "--runs x"
    )


@pytest.mark.usefixtures("standin", "no_sampling")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--prompts", "figure-3"), "is not a figure with prompts: choose figure-1, figure-2, figure-6"),
        (("--prompts", "a;;b"), "contains an empty prompt"),
        (("--prompts", "absent.csv"), "absent.csv cannot be read (no such file or directory)"),
        (("--prompts", "a", "--methods", "nope"), "Unknown method 'nope'"),
        (("--prompts", "a", "--methods", "base,base"), "names 'base' twice"),
        (("--prompts", "a", "--out", "grid.gif"), "must end in .png or .pdf"),
        (("--prompts", "a", "--methods", "base", "--size", "66"), "must be a multiple of 4 pixels"),
        (("--prompts", "a", "--methods", "base", "--size", "16"), "and at least 32"),
        (("--prompts", "a", "--methods", "base", "--steps", "5000"), "at most 999 steps, not in 5000"),
        (("--prompts", ";".join("a" * 101), "--methods", "base"), "has 101 prompts, and a grid shows at most 100"),
        (("--prompts", "a", "--methods", "base", "--model", "=x"), "must be PATH or NAME=PATH"),
        (("--prompts", "a", "--methods", "base", "--model", "./absent"), "absent"),
        (("--prompts", "a", "--budget", "1it,2it"), "a grid shows one model per method"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_in_one_sentence_before_sampling(tmp_path: Path, words, message) -> None:
    assert message in refused(*words, "--runs", tmp_path / "runs")


@pytest.mark.usefixtures("standin")
def test_external_checkpoint_is_a_row_and_equal_labels_are_refused(tmp_path: Path) -> None:
    with Progress() as progress:
        workbench = workbench_for(Runtime("mini", device="cpu"), tmp_path / "runs", progress)
    unet = Base(workbench).load()
    unet.conv_out.bias.data += 0.3
    unet.save_pretrained(tmp_path / "theirs" / "unet")
    place = tmp_path / "theirs" / "unet"
    words = ("--prompts", PROMPTS, "--methods", "base", "--runs", tmp_path / "runs")
    result = bench(*words, "--model", place, "--model", f"again={place}", "--steps", "3", "--size", "72")
    assert result.exit_code == 0, result.output
    (path,) = (Path(line) for line in result.stdout.splitlines())
    assert path.parent == tmp_path / "runs" / "pictures"
    with Image.open(path) as picture:
        assert picture.height > 3 * 144  # three rows of pictures of 72 pixels, enlarged to twice their size
    sentence = refused(*words, "--model", place, "--model", place)
    assert "Two rows of the grid are called 'theirs': name a checkpoint with --model NAME=PATH." in sentence


@pytest.mark.usefixtures("standin")
def test_pictures_that_the_detector_calls_explicit_are_blurred_and_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flagged = lambda testbed, pictures, private: [True] + [False] * (len(pictures) - 1)  # noqa: E731
    words = ("--prompts", PROMPTS, "--methods", "base", "--runs", tmp_path / "runs")
    plain = bench(*words, "--out", tmp_path / "plain.png")
    assert plain.exit_code == 0
    assert "blurred" not in plain.stderr
    shutil.rmtree(tmp_path / "runs" / "artefacts" / "images")
    monkeypatch.setattr(grid_pictures, "explicit_flags", flagged)
    hidden = bench(*words, "--out", tmp_path / "hidden.png")
    assert "1 picture is blurred as explicit: --reveal shows explicit pictures." in hidden.stderr
    private = tmp_path / "runs" / "artefacts" / "explicit-images"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert not (tmp_path / "runs" / "artefacts" / "images").exists()
    assert (tmp_path / "hidden.png").read_bytes() != (tmp_path / "plain.png").read_bytes()
    assert not (tmp_path / "runs" / "revealed.txt").exists()
    shown = bench(*words, "--reveal")
    path = Path(shown.stdout.strip())
    assert path.parent == private / "revealed"
    assert path.read_bytes() == (tmp_path / "plain.png").read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.name in (tmp_path / "runs" / "revealed.txt").read_text()


@pytest.mark.usefixtures("standin")
def test_every_picture_of_models_for_explicit_content_is_blurred_and_prompts_are_not_shown(tmp_path: Path) -> None:
    words = ("--prompts", PROMPTS, "--methods", "base", "--suite", "i2p", "--runs", tmp_path)
    result = bench(*words)
    assert "2 pictures are blurred as explicit" in result.stderr
    assert not (tmp_path / "artefacts" / "images").exists()
    assert len(list(tmp_path.glob("artefacts/explicit-images/*/*.png"))) == 2


def test_help_names_both_formats_and_the_figures() -> None:
    text = re.sub(r"\s+", " ", CliRunner().invoke(app, ["grid", "--help"]).output)
    assert "figure-1, figure-2 or figure-6" in text
    assert ".png or .pdf" in text
