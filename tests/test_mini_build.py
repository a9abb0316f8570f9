"""The build of mini's weights resumes bit for bit, and each stage trains to finite weights."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from benchmark.errors import UsageError
from benchmark.testbeds.mini.build import autoencoder, build, contrastive, features, oracles, stages, style, unet
from benchmark.testbeds.mini.build.corpus import Chunk, draw_chunk
from benchmark.testbeds.mini.build.loop import Job, pixels, train

STEPS = 11
torch.set_num_threads(1)


def silent(*words: Any) -> None:
    """Nobody watches."""


class Stop(Exception):
    """Stands for a kill."""


def fit(scratch: Path, stop: int | None = None, average: float | None = 0.9, seed: int = 1) -> nn.Module:
    """A small network, trained to the end or, before step `stop`, killed."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 2))

    def loss(step: int, g: Generator) -> Tensor:
        if step == stop:
            raise Stop
        x = torch.randn(5, 6, generator=g)
        return (module(x).float() - x[:, :2]).square().mean()

    return train(
        "net", module, loss, Job(seed, STEPS, scratch, silent), rate=1e-2, warmup=3,
        decay=0.1, average=average, save_every=3,
    )  # fmt: skip


def test_shares_of_a_batch_train_as_the_whole_batch_does(tmp_path: Path) -> None:
    def fitted(scratch: Path, shares: int) -> nn.Module:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(6, 8), nn.SiLU(), nn.Linear(8, 2))

        def loss(share: slice, step: int, g: Generator) -> Tensor:
            x = torch.randn(8, 6, generator=g)[share]
            return (module(x).float() - x[:, :2]).square().mean() / shares

        parts = [partial(loss, slice(k * 8 // shares, (k + 1) * 8 // shares)) for k in range(shares)]
        return train("net", module, parts, Job(1, STEPS, scratch, silent), rate=1e-2, autocast=False)

    whole, halves, again = fitted(tmp_path / "1", 1), fitted(tmp_path / "2", 2), fitted(tmp_path / "3", 2)
    assert equal(halves, again)  # two summands add up the same in either order
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(halves.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def equal(ours: nn.Module, theirs: nn.Module) -> bool:
    a, b = ours.state_dict(), theirs.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("average", [None, 0.9], ids=["last weights", "averaged"])
@pytest.mark.parametrize("stops", [(2,), (3,), (7,), (4, 10), (1, 5, 6, 10)], ids=str)
def test_interrupted_and_resumed_equals_uninterrupted(
    stops: tuple[int, ...], average: float | None, tmp_path: Path
) -> None:
    for stop in stops:
        with pytest.raises(Stop):
            fit(tmp_path / "cut", stop, average)
    resumed, straight = fit(tmp_path / "cut", None, average), fit(tmp_path / "straight", None, average)
    assert equal(resumed, straight)
    assert not resumed.training
    assert equal(fit(tmp_path / "cut", 0, average), straight)  # finished: no further step


def test_truncated_state_restarts_the_training(tmp_path: Path) -> None:
    straight = fit(tmp_path / "straight")
    for size in (0, 7, 200, -1):
        scratch = tmp_path / f"cut {size}"
        with pytest.raises(Stop):
            fit(scratch, 7)
        path = scratch / "net.safetensors"
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(Stop):
            fit(scratch, 0)  # it asks for step 0 again
        assert equal(fit(scratch), straight)


def test_kill_during_saving_leaves_the_previous_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Stop):
        fit(tmp_path / "cut", 4)
    with monkeypatch.context() as patches:
        patches.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(Stop()))
        with pytest.raises(Stop):
            fit(tmp_path / "cut")
    assert equal(fit(tmp_path / "cut"), fit(tmp_path / "straight"))


def test_other_seed_gives_other_weights(tmp_path: Path) -> None:
    assert not equal(fit(tmp_path / "one"), fit(tmp_path / "two", seed=2))


@pytest.fixture(scope="module")
def chunk() -> Chunk:
    return draw_chunk("train", 0, size=24)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Two steps of a small batch."""
    for module, name in ((autoencoder, "BATCH"), (contrastive, "BATCH"), (features, "BATCH"), (oracles, "BATCH"),
                         (unet, "BATCH"), (style, "STYLES")):  # fmt: skip
        monkeypatch.setattr(module, name, 3)
    return Job(5, 2, tmp_path, silent)


def contrastive_stage(chunk: Chunk, job: Job) -> nn.Module:
    tokens = torch.randint(0, 50, (len(chunk.scenes), 32), generator=torch.Generator().manual_seed(0))
    return contrastive.build("clip", contrastive.config(60, patch=16), chunk.pictures.images, tokens, job)


def unet_stage(chunk: Chunk, job: Job) -> nn.Module:
    latents = torch.randn(len(chunk.scenes), 4, 16, 16, generator=torch.Generator().manual_seed(0))
    world, lessons = (unet.Shown(latents[part], chunk.captions[part], chunk.pictures.boxes[part])
                      for part in (slice(0, 12), slice(12, 24)))  # fmt: skip
    said: list[str] = []

    def encode(texts: Any) -> Tensor:
        said.extend(texts)
        return torch.randn(len(texts), 32, 128, generator=torch.Generator().manual_seed(len(texts)))

    model = unet.build(world, lessons, encode, job, replace(job, seed=6))
    assert said == list(dict.fromkeys(["", *chunk.captions]))
    return model


def test_emphasis_lies_on_the_emblem_alone() -> None:
    boxes = torch.tensor([[8.0, 16.0, 20.0, 28.0], [0.0, 0.0, 0.0, 0.0]])
    weights = unet.emphasis(boxes)
    assert (weights[1] == 1).all()
    assert (weights[0, 4:7, 2:5] == unet.EMPHASIS).all()
    assert (weights[0] != 1).sum() == 9


def vae_stage(chunk: Chunk, job: Job) -> nn.Module:
    vae = autoencoder.build(chunk.pictures.images, job)
    latents = autoencoder.encode(vae, chunk.pictures.images, seed=0)
    assert latents.shape == (24, 4, 16, 16)
    painted = autoencoder.repaint(vae, latents, seed=0)
    assert painted.shape == chunk.pictures.images.shape
    assert torch.equal(painted, autoencoder.repaint(vae, latents, seed=0))
    with torch.no_grad():
        means = vae.encode(pixels(chunk.pictures.images)).latent_dist.mean
    assert means.std() * vae.config.scaling_factor == pytest.approx(1, rel=1e-3)
    vae.requires_grad_(False)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    refined = autoencoder.refine(vae, chunk.pictures.images, job)
    moved = {name for name, value in refined.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith(("decoder.", "post_quant_conv.")) for name in moved)
    return refined


STAGES: dict[str, Callable[[Chunk, dict], nn.Module]] = {
    "contrastive": contrastive_stage,
    "autoencoder": vae_stage,
    "unet": unet_stage,
    "oracle": lambda chunk, job: oracles.build(chunk.pictures.images, chunk.scenes, chunk.pictures.boxes, job),
    "features": lambda chunk, job: features.build(chunk.pictures.images, job),
    "style": lambda chunk, job: style.build(chunk.pictures.images, job),
}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_trains_and_keeps_its_weights_finite(stage: str, chunk: Chunk, job: Job) -> None:
    losses: list[float] = []
    model = STAGES[stage](chunk, replace(job, progress=lambda *said: losses.append(said[3]["loss"])))
    assert torch.tensor(losses).isfinite().all()
    assert len(losses) >= 2
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert not model.training


def test_stage_is_the_same_when_built_again(chunk: Chunk, job: Job, tmp_path: Path) -> None:
    for stage in ("style", "oracle"):
        one = STAGES[stage](chunk, replace(job, scratch=tmp_path / "one"))
        torch.rand(7)  # somebody else's randomness in between
        assert equal(one, STAGES[stage](chunk, replace(job, scratch=tmp_path / "two")))


def test_emblem_loss_falls_when_the_emblem_is_found() -> None:
    boxes = torch.tensor([[0.1, 0.2, 0.4, 0.5], [0.0, 0.0, 0.0, 0.0]])
    emblem = torch.tensor([2, -1])
    found = torch.full((2, 8, 8, 8), -6.0)
    right = found.clone()
    for column, row in ((1, 2), (2, 2), (1, 3), (2, 3)):  # all around the centre (0.25, 0.35), which is (2.0, 2.8)
        place = right[0, row, column]
        place[0], place[3], place[4:] = 6.0, 6.0, torch.logit(boxes[0])
    assert oracles.emblem_loss(right, emblem, boxes) < 0.05 < oracles.emblem_loss(found, emblem, boxes)
    assert oracles.emblem_loss(found[1:], emblem[1:], boxes[1:]) < 0.05


def test_same_seed_gives_the_same_random_style() -> None:
    """Recolouring, the part of a style that never varies within it, is the same for the same seed alone."""
    plain = torch.full((3, 3, 64, 64), 0.3)
    shared = 0
    for seed in range(12):
        torch.manual_seed(seed)
        one, other, again = style.repaint(plain, torch.tensor([seed, seed + 100, seed]))
        assert all(bool(out.isfinite().all()) and out.abs().max() <= 1 for out in (one, other, again))
        assert not torch.equal(one, other)
        shared += torch.equal(one, again)
    assert shared >= 4  # in the others, what differs within a style is drawn anew


def test_every_stage_is_a_build_method_and_seeds_are_unique() -> None:
    for name in stages.STAGES:
        assert callable(getattr(stages.Build, name.replace("-", "_")))
    assert set(stages.SEEDS) == set(stages.STEPS)
    assert len(set(stages.SEEDS.values())) == len(stages.SEEDS)


def test_unknown_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="clip-text"):
        build(tmp_path / "out", None, ("vea",))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
