"""`bench speed` compares implementations of the same computation and times nothing else."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from standin import Standin
from typer.testing import CliRunner

from benchmark.api.testbed import Workbench
from benchmark.cli.app import app
from benchmark.console import Progress
from benchmark.cost import speed
from benchmark.errors import UsageError
from benchmark.store.artefacts import Store
from benchmark.testbeds.stable_diffusion import architecture
from methods.distilled import Distilled, DistilledConfig

WAYS = [
    "shards, as here", "one prompt a call, fp32", "one prompt a call, fp32, reference made again",
    "one prompt a call, half precision", "distilled, as here", "bilevel, as here", "Eq. 8, published way",
]  # fmt: skip


@pytest.fixture
def bench(standin: Path, tmp_path: Path) -> Workbench:
    return Workbench(Standin(standin), Store(tmp_path), Progress(), torch.device("cpu"))


def told(out: Path, *arguments: str) -> dict:
    result = CliRunner().invoke(
        app, ["speed", "--runs", str(out.parent), "--out", str(out), "--device", "cpu", *arguments]
    )
    assert result.exit_code == 0, result.output + str(result.exception)
    return {**json.loads(out.read_text()), "printed": result.stdout}


def test_compared_implementations_sample_the_same_images(bench: Workbench) -> None:
    asked = bench.testbed.prompts("artists", bench.testbed.concept(()))[:3]
    pipeline = speed._pipeline(bench, torch.float32)
    ours, theirs = speed.sharded(bench, bench.testbed.base(), asked), speed.one_by_one(bench, pipeline, asked)
    assert (ours.int() - theirs.int()).abs().max() <= 2


@pytest.mark.usefixtures("standin")
def test_speed_reports_every_implementation_with_its_baseline(tmp_path: Path) -> None:
    found = told(tmp_path / "speed.json", "--images", "2", "--steps", "1", "--batch", "2")
    assert [row["way"] for row in found["rows"]] == WAYS
    assert all(row["rate"] > 0 and row["ours_faster"] > 0 and row["utilisation"] > 0 for row in found["rows"])
    assert [row["ours_faster"] for row in found["rows"] if row["ours"]] == [1.0, 1.0]
    assert found["printed"].count("   palimpsest is ") == 5
    assert found["command"] == "bench speed --testbed mini --device cpu --images 2 --steps 1 --batch 2"
    assert str(tmp_path) not in json.dumps(found)
    first, _, again, *_ = found["rows"]
    assert again["flops"] == 2 * first["flops"]
    step, _, published = found["rows"][4:]
    assert published["flops"] == step["flops"] > 0


def test_loading_and_warm_up_are_not_timed(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are loaded, and first steps taken, before the clock starts."""
    timing, load, clock, take = [False], speed._pipeline, speed._measure_time, speed.online
    taken: list[tuple[int, bool]] = []

    @contextmanager
    def timed(bench):
        with clock(bench) as took:
            timing[0] = True
            yield took
            timing[0] = False

    def loading(*given):
        assert not timing[0]
        return load(*given)

    def online(*given):
        assert not timing[0]
        steps, flops = take(*given)
        return lambda count: (taken.append((count, timing[0])), steps(count)), flops

    for name, stand in (("_measure_time", timed), ("_pipeline", loading), ("online", online)):
        monkeypatch.setattr(speed, name, stand)
    concept = bench.testbed.concept(())
    list(speed.training(bench, concept, 1, 2))
    list(speed.generation(bench, bench.testbed.prompts("artists", concept)[:1]))
    assert taken == [(speed.WARM_UP, False), (1, True)]


def test_out_of_memory_in_the_published_training_gives_one_sentence(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    concept = bench.testbed.concept(())
    method = Distilled(DistilledConfig(batch=2))
    take, _ = speed.online(bench, method, bench.testbed.base(), bench.testbed.materials(bench, concept, "plain"))
    monkeypatch.setattr("methods.training.losses.distillation_loss", full)
    with pytest.raises(UsageError, match=r"batch of 2 images does not fit .* published training loop: .*--batch"):
        take(1)


def test_speed_at_full_size_needs_no_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SD 2.1's architecture, here with few channels, is built from nothing in every way."""
    few = {"block_out_channels": (32, 32, 64, 64), "attention_head_dim": (2, 2, 4, 4)}
    monkeypatch.setattr(architecture, "UNET", {**architecture.UNET, **few})
    monkeypatch.setattr(architecture, "VAE", {**architecture.VAE, "block_out_channels": (32,) * 4})
    monkeypatch.setattr(architecture, "TEXT", {**architecture.TEXT, "num_hidden_layers": 1, "intermediate_size": 64})
    given = ["--testbed", "sd21-rehearsal", "--latent-size", "8", "--images", "1", "--steps", "1", "--batch", "1"]
    found = told(tmp_path / "speed.json", *given)
    assert [row["way"] for row in found["rows"]] == WAYS
    assert (found["latent_size"], found["command"][-15:]) == (8, "--latent-size 8")
    result = CliRunner().invoke(app, ["speed", "--latent-size", "8"])
    assert (result.exit_code, "--latent-size needs --testbed sd21-rehearsal" in result.stderr) == (2, True)


@pytest.mark.usefixtures("standin")
def test_stage_times_of_a_fresh_run_sum_to_its_total(tmp_path: Path) -> None:
    found = told(tmp_path / "stages.json", "--stages")
    rows = found["rows"]
    stages = [row["stage"] for row in rows]
    assert stages[0] == "load testbed mini"
    assert {"prune to 80% MACs", "train distilled", "sample base: artists", "sample distilled (seed 1000): coco"} < set(
        stages
    )
    assert stages[-1] == "between stages"
    assert sum(row["seconds"] for row in rows) == pytest.approx(found["seconds"])
    assert sum(row["seconds"] * row["cores"] for row in rows) == pytest.approx(found["seconds"] * found["cores"])
    assert [row["began"] for row in rows[:-1]] == sorted(row["began"] for row in rows[:-1])
    assert all(row["seconds"] >= 0 for row in rows)
    assert [path.name for path in tmp_path.iterdir()] == ["stages.json"]
    assert found["command"] == "bench speed --testbed mini --device cpu --stages"
