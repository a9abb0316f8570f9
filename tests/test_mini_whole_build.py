"""The whole build of mini's weights on a few images and steps, including killed, resumed and refused builds."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from rich.console import Console
from safetensors import SafetensorError

from benchmark.console import Progress
from benchmark.errors import DataError, StoreError, UsageError
from benchmark.store import disk, durable
from benchmark.testbeds.mini import testbed
from benchmark.testbeds.mini.build import (
    autoencoder,
    build,
    contrastive,
    corpus,
    features,
    loop,
    oracles,
    stages,
    style,
    unet,
)
from benchmark.testbeds.mini.build.corpus import draw_chunk
from benchmark.testbeds.mini.testbed import Mini
from methods.sampling import Sampler, initial_noise, sample

torch.set_num_threads(1)
PICTURES = 12


class Stop(Exception):
    """Stands for a kill."""


def little(patch: Callable[[Any, str, Any], None]) -> None:
    """Two steps of everything, two pictures a step."""
    for module in (autoencoder, contrastive, features, oracles, unet):
        patch(module, "BATCH", 2)
    for module, name in ((style, "STYLES"), (stages, "TRAIN_CHUNKS"), (stages, "LESSON_CHUNKS")):
        patch(module, name, 2)
    patch(stages, "REPAINTED", 1)
    patch(stages, "STEPS", dict.fromkeys(stages.STEPS, 2))
    patch(corpus, "draw_chunk", lambda split, k: draw_chunk(split, k, size=PICTURES))
    for module in (corpus, stages):
        patch(module, "CHUNK", PICTURES)


def built(out: Path, only: tuple[str, ...] = ()) -> str:
    """Build, and return what was said."""
    said = io.StringIO()
    with Progress(Console(file=said, width=200)) as progress:
        build(out, progress, only)
    return said.getvalue()


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    little(monkeypatch.setattr)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A build that nothing interrupted, and what it said."""
    out = tmp_path_factory.mktemp("straight") / "weights"
    with pytest.MonkeyPatch.context() as patches:
        little(patches.setattr)
        return out, built(out)


def test_build_reports_each_stage_once_and_its_expected_cost(straight: tuple[Path, str]) -> None:
    out, said = straight
    names = Counter(line[2:30].strip() for line in said.splitlines() if line.startswith("✓"))
    asked = {"draw train", "draw lessons", "latents-train", "latents-lessons", "repaint lessons", *stages.STEPS}
    assert names == Counter(asked)
    assert "three hours on two CPU cores" in said
    assert "2.3 GB" in said
    assert not out.with_name("weights.work").exists()
    assert "all weights exist" in built(out)


def test_build_killed_at_any_moment_resumes_to_identical_weights(
    straight: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempt k is stopped at its k-th event: a report of progress, or the renaming of what has just been written."""
    out, left, attempts, whole = tmp_path / "weights", 0, 0, False

    def counted(what: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Stop
            what(*arguments)

        return call

    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(Progress, "report", counted(Progress.report))
    while not whole:
        attempts += 1
        left = attempts
        with suppress(Stop):
            built(out)
            whole = True
        if not whole:
            with pytest.raises(DataError, match="resumes an interrupted build"):
                Mini(out)
    assert attempts > 8
    assert (out / "manifest.json").read_bytes() == (straight[0] / "manifest.json").read_bytes()
    assert not list(tmp_path.rglob("*.tmp"))


def test_built_folder_is_a_testbed_and_a_diffusers_pipeline(straight: tuple[Path, str]) -> None:
    made = Mini(straight[0])
    assert made.identity()["weights"] != Mini().identity()["weights"]
    text, noise = "a red house by Claude Monet", initial_noise([3], (4, 16, 16))
    with torch.no_grad():
        latents = sample(
            made.base(), made.scheduler, made.encode([text]), made.encode([""])[0], noise, Sampler(steps=2, guidance=2)
        )
    ours = made.decode(latents)
    pipeline = StableDiffusionPipeline.from_pretrained(straight[0] / "pipeline", local_files_only=True)
    pipeline.to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(text, latents=noise, num_inference_steps=2, guidance_scale=2.0, output_type="pt").images
    assert (theirs * 255 - ours).abs().max() <= 2
    for job in made.networks:
        encoder: Any = made.encoder(job)
        assert encoder.name == made.networks[job]


def test_stages_can_be_built_one_by_one(straight: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "weights"
    assert "without --only" in built(out, ("style",))
    assert {path.name for path in out.iterdir()} == {"style.safetensors"}
    assert (out / "style.safetensors").read_bytes() == (straight[0] / "style.safetensors").read_bytes()


@pytest.mark.parametrize("writer", [corpus, loop, stages], ids=["pictures", "training state", "weights"])
def test_full_disk_gives_one_sentence_and_the_build_resumes_later(
    writer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patches:
        patches.setattr(writer, "save_file", full)
        with pytest.raises(StoreError, match=r"disk is full while writing .*weights"):
            built(tmp_path / "weights", ("style",))
    built(tmp_path / "weights", ("corpus",))


def test_insufficient_disk_space_is_refused_before_drawing_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: type("", (), {"free": 10**6}))
    with pytest.raises(StoreError, match=r"needs about 2\.3 GB"):
        built(tmp_path / "weights")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_concurrent_build_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    with durable.alone(tmp_path / "weights"), pytest.raises(StoreError, match="Another process is using"):
        built(tmp_path / "weights")
    built(tmp_path / "weights", ("corpus",))


def test_manifest_can_be_written_after_a_kill_during_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "weights"
    out.mkdir()
    with monkeypatch.context() as patches:
        patches.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(Stop()))
        with pytest.raises(Stop):
            testbed.write_manifest(out)
    assert not (out / "manifest.json").exists()
    (out / durable.temporary_name().replace(f"-{os.getpid()}-", "-999999999-")).touch()
    testbed.write_manifest(out)
    assert testbed.check_manifest(out)["files"] == {}


def test_finished_build_removes_a_leftover_work_folder(straight: tuple[Path, str]) -> None:
    left = straight[0].with_name("weights.work")
    (left / "corpus").mkdir(parents=True)
    built(straight[0])
    assert not left.exists()


def test_invalid_build_folder_or_device_is_refused_before_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights.work").touch()
    with pytest.raises(StoreError, match=r"weights\.work is not a folder"):
        built(tmp_path / "weights")
    with pytest.raises(UsageError, match="--device abacus cannot be used on this machine"), Progress() as progress:
        build(tmp_path / "other", progress, device="abacus")
    assert not (tmp_path / "other").exists()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    built(Path("."), ("corpus",))
    assert (tmp_path / "here.work" / "corpus").is_dir()


def test_resuming_a_build_with_different_steps_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(tmp_path / "weights", ("corpus",))
    monkeypatch.setattr(stages, "STEPS", dict.fromkeys(stages.STEPS, 3))
    with pytest.raises(StoreError, match="started by a version with different pictures, seeds or steps"):
        built(tmp_path / "weights")
