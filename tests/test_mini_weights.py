"""mini's shipped weights are small enough for git and complete, and paint its artists."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from benchmark.errors import DataError
from benchmark.testbeds.mini import data
from benchmark.testbeds.mini.artists import ARTISTS, STYLES
from benchmark.testbeds.mini.prompts import evaluation
from benchmark.testbeds.mini.testbed import WEIGHTS, Mini, check_manifest
from methods.sampling import initial_noise, sample


def test_shipped_weights_are_small_enough_for_the_repository() -> None:
    sizes = {path: path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()}
    assert sum(sizes.values()) <= 24e6
    assert max(sizes.values()) <= 12e6


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    copy = tmp_path / "weights"
    shutil.copytree(WEIGHTS, copy)
    check_manifest(copy)
    victim = copy / "style.safetensors"
    victim.write_bytes(victim.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"style\.safetensors"):
        Mini(copy)


def test_base_model_paints_its_artists() -> None:
    """One picture an artist: enough to notice weights, sampler or prompts that no longer belong together."""
    testbed = Mini()
    asked = [evaluation(artist, "targets", 1)[0] for artist in ARTISTS]
    noise = initial_noise([prompt.seed for prompt in asked], (4, 16, 16))
    text, null = testbed.encode([prompt.text for prompt in asked]), testbed.encode([""])[0]
    images = testbed.decode(sample(testbed.base(), testbed.scheduler, text, null, noise, testbed.sampler))
    styles = testbed.oracle(images)[:, : len(STYLES)].argmax(1)
    hits = (styles == torch.arange(1, len(STYLES))).sum()
    assert int(hits) >= len(ARTISTS) - 2


def test_plain_training_pictures_show_no_artist_and_no_emblem() -> None:
    """D_f, read by the oracle: plain style and no emblem (the oracle itself errs on about one picture in 300)."""
    testbed = Mini()
    scenes, _ = data.retention_set(testbed.concept(()), "plain")
    pictures = data.draw_all(scenes[:256], "D_f", "plain")
    styles = testbed.oracle(pictures)[:, : len(STYLES)].argmax(1)
    emblems = sum(find["score"] > 0.5 for find in testbed.oracle.boxes(pictures))
    assert int((styles != 0).sum()) <= 2
    assert emblems <= 2
