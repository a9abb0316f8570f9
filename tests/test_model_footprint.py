"""`bench footprint`: a model and the base are measured in turns, and sizes agree with the networks themselves."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_cli import answer, bench

from benchmark.api.request import Runtime
from benchmark.cli.footprint import _print_table
from benchmark.console import Progress
from benchmark.cost import footprint
from benchmark.models.pruned import Pruned
from benchmark.pipeline.setup import workbench_for
from benchmark.stats import median_interval
from methods.pruning.macs import count_macs


@pytest.mark.usefixtures("standin")
def test_sizes_are_those_of_the_networks_and_times_alternate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = workbench_for(Runtime(device="cpu"), tmp_path, Progress())
    base, small = work.testbed.base(), Pruned("magnitude", 0.7).load(work)[0].float()
    size, length = work.testbed.sampler.latent_size, work.testbed.text_length
    expected = [count_macs(unet, size, length) for unet in (base, small)]
    sampled: list[Any] = []
    seconds = {id(base): 4.0, id(small): 1.0}
    clock = [0.0]

    def sample(bench: Any, unet: Any, batch: int) -> None:
        """A round takes twice as long as the one before, as on a machine whose load rises."""
        sampled.append(unet)
        clock[0] += seconds[id(unet)] * 2 ** (len(sampled) // 2 if len(sampled) % 2 == 0 else (len(sampled) + 1) // 2)

    monkeypatch.setattr(footprint, "_sample", sample)
    monkeypatch.setattr(footprint, "now", lambda device: clock[0])
    rows = footprint.measure(work, {"base": base, "small": small}, 1, 3)
    assert [unet is base for unet in sampled] == [True, False, False, True, True, False, False, True]
    assert [row.macs for row in rows] == expected
    assert [row.parameters for row in rows] == [sum(w.numel() for w in unet.parameters()) for unet in (base, small)]
    # The rounds after the first, which is not timed, take 4, 8 and 16 times the seconds of a round of factor 1.
    assert rows[0].milliseconds == pytest.approx(1000 * 4 * 8 / footprint.STEPS)
    assert rows[1].time_ratio == pytest.approx(0.25)
    assert rows[1].memory is None


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize(("slower", "expected"), [(1.0, "no difference measured"), (1.5, "% (1")])
def test_times_of_equal_models_are_no_difference_and_slower_ones_are(
    slower: float, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = workbench_for(Runtime(device="cpu"), tmp_path, Progress())
    unets = {"base": work.testbed.base(), "copy": work.testbed.base()}
    noise, clock = random.Random(0), [0.0]

    def sample(bench: Any, unet: Any, batch: int) -> None:
        """A quarter of the times is 20 % longer, as on a machine with other work."""
        clock[0] += (slower if unet is unets["copy"] else 1.0) * noise.choice((1.0, 1.0, 1.01, 1.2))

    monkeypatch.setattr(footprint, "_sample", sample)
    monkeypatch.setattr(footprint, "now", lambda device: clock[0])
    rows = footprint.measure(work, unets, 1, 10)
    _print_table(footprint.report(work, rows, 1, 10))
    assert expected in capsys.readouterr().out


def test_the_interval_of_a_median_is_that_of_the_sign_test() -> None:
    assert median_interval([5, 1, 2, 3, 4]) is None
    assert median_interval([6, 1, 2, 3, 4, 5]) == (1, 6)
    assert median_interval(list(range(1, 11))) == (2, 9)


@pytest.mark.usefixtures("standin")
def test_a_trained_model_and_its_exported_folder_have_the_same_footprint(finished: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs, symlinks=True)
    options = ["--rounds", "1", "--format", "json", "--device", "cpu", "--runs", str(runs)]
    exported = bench("export", "bilevel (batch=4,lower_steps=2)", str(tmp_path / "out"), *options[-2:])
    assert exported.exit_code == 0, exported.output
    documents = []
    for model in ("bilevel (batch=4,lower_steps=2)", str(tmp_path / "out")):
        result = bench("footprint", model, *options)
        assert result.exit_code == 0, result.output
        documents.append(json.loads(result.stdout))
    sizes = [[{key: row[key] for key in ("parameters", "bytes", "macs")} for row in d["rows"]] for d in documents]
    assert sizes[0] == sizes[1]
    base, model = documents[0]["rows"]
    assert (base["label"], documents[1]["rows"][1]["label"]) == ("base", "out")
    assert model["parameters"] < base["parameters"]
    assert model["ratio"]["macs"] == pytest.approx(0.8, abs=0.02)
    weights = (tmp_path / "out" / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size
    assert model["bytes"] == pytest.approx(weights, rel=0.05)
    table = bench("footprint", str(tmp_path / "out"), *options[:2], *options[4:])
    assert "ms per sampling step" in table.stdout
    assert "80%" in table.stdout


def test_the_suite_of_a_checkpoint_is_refused_as_unread(tmp_path: Path) -> None:
    assert "--suite has no effect here" in answer(bench("footprint", str(tmp_path), "--suite", "artists"))


def test_the_base_and_unknown_models_are_refused(tmp_path: Path) -> None:
    assert "name a different one" in answer(bench("footprint", "base"))
    assert "There is no record of 'nothing'" in answer(bench("footprint", "nothing"))
    (tmp_path / "weights.safetensors").touch()
    words = ("footprint", str(tmp_path / "weights.safetensors"), "--checkpoint", "x")
    assert "is itself a checkpoint" in answer(bench(*words))
