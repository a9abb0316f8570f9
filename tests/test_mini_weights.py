"""mini's shipped weights are small enough for git and complete, and paint its artists."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from benchmark.errors import DataError
from benchmark.testbeds.mini import data
from benchmark.testbeds.mini.artists import ARTISTS, STYLES
from benchmark.testbeds.mini.build.autoencoder import encode
from benchmark.testbeds.mini.build.loop import pixels
from benchmark.testbeds.mini.load import load_vae
from benchmark.testbeds.mini.prompts import evaluation, seed_of
from benchmark.testbeds.mini.testbed import WEIGHTS, Mini, check_manifest
from benchmark.testbeds.mini.world.draw import draw
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


@pytest.mark.parametrize("threads", [1, 2])
def test_drawing_and_encoding_side_by_side_give_what_one_chunk_at_a_time_gives(threads: int) -> None:
    """Chunks of 256 pictures have a seed each, and the noise of 256 latents is drawn together."""
    scenes, _ = data.retention_set(Mini().concept(()), "plain")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        drawn = data.draw_all(scenes[:264], "D_f", "plain")
        latents = encode(load_vae(WEIGHTS / "pipeline"), drawn[216:], seed=0)
    finally:
        torch.set_num_threads(before)
    first, second = (torch.Generator().manual_seed(seed_of("D_f", "plain", start)) for start in (0, 256))
    assert torch.equal(drawn[:256], draw(scenes[:256], first).images)
    assert torch.equal(drawn[256:], draw(scenes[256:264], second).images)
    vae = load_vae(WEIGHTS / "pipeline")
    with torch.no_grad():
        moments = vae.encode(pixels(drawn[216:])).latent_dist
    noise = torch.randn(moments.mean.shape, generator=torch.Generator().manual_seed(0))
    whole = (moments.mean + moments.std * noise) * vae.config.scaling_factor
    torch.testing.assert_close(latents, whole, rtol=1e-5, atol=1e-5)  # the size of a batch can change the rounding
