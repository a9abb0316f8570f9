"""Prunings that use images or prompts on testbeds in Stable Diffusion's format: they run or are refused early."""

import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny import same
from typer.testing import CliRunner

from benchmark.api.request import Runtime
from benchmark.api.testbed import Workbench
from benchmark.cli.app import app
from benchmark.console import Progress
from benchmark.errors import BudgetError
from benchmark.models import prunings
from benchmark.models.pruned import Pruned
from benchmark.pipeline.setup import workbench_for
from benchmark.records.record import read_records
from benchmark.store.artefacts import Store
from benchmark.testbeds import resolve
from benchmark.testbeds.stable_diffusion import testbed as module
from benchmark.testbeds.stable_diffusion.definition import read
from benchmark.testbeds.stable_diffusion.testbed import StableDiffusion
from methods.pruning import taylor
from methods.pruning.aptp import search
from methods.pruning.macs import count_macs
from methods.pruning.vector import Layout, to_architecture

QUICK = ["--experts", "2", "--steps", "3", "--macs", "0.7"]
RUN = ["run", "--method", "distilled", "--suite", "artists", "--alone", "--budget", "1it", "--device", "cpu"]


@pytest.fixture(scope="module")
def testbed(tiny: Path) -> StableDiffusion:
    return resolve.load(str(tiny))(device="cpu")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A library sentence-transformers whose models count letters; the texts that it has read."""
    read_so_far: list[str] = []

    class Letters:
        def __init__(self, name: str, device: str) -> None:
            assert name == "sentence-transformers/all-mpnet-base-v2"

        def encode(self, texts: list[str], convert_to_tensor: bool) -> torch.Tensor:
            read_so_far.extend(texts)
            return torch.tensor([[text.count(letter) for letter in "abcdefgh 0123"] for text in texts])

    made: Any = ModuleType("sentence_transformers")
    made.SentenceTransformer = Letters
    monkeypatch.setitem(sys.modules, "sentence_transformers", made)
    return read_so_far


def called(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


def refused(*arguments: str) -> str:
    """The one sentence that a command ends with; before it, nothing costly was said to begin."""
    *before, last = called(*arguments, code=2).splitlines()
    assert last.startswith("error: ")
    assert "Traceback" not in "".join(before)
    for costly in ("encode training pictures", "sample", "search", "train "):
        assert not [line for line in before if line.startswith(costly)]
    return last


# pictures to prune by


def test_calibration_captions_match_their_latents(testbed, tmp_path, monkeypatch):
    bench = Workbench(testbed, Store(tmp_path), Progress(), torch.device("cpu"))
    shown = testbed.pictures(bench)
    assert len(shown.data) == len(shown.captions) == 6  # one each of the train pictures
    assert shown.captions[:2] == ["train picture 0, caption 1.", "train picture 1, caption 1."]
    latents, text = shown.data.batch(torch.tensor([4, 1]))
    assert latents.shape == (2, 4, 8, 8)
    torch.testing.assert_close(text, testbed.encode([shown.captions[4], shown.captions[1]]))
    torch.testing.assert_close(shown.null, testbed.encode([""])[0])
    assert not [text for text in shown.captions if text.startswith("val")]  # these a suite asks
    monkeypatch.setattr(module, "PRUNING", 3)
    few = testbed.pictures(bench)
    assert few.captions == shown.captions[::2]


def test_taylor_pruning_runs_on_a_testbed_file(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(taylor, "TIMES", 2)
    monkeypatch.setattr(taylor, "BATCH", 4)
    told = called(*RUN, "--pruning", "taylor", "--macs", "0.8", "--testbed", str(tiny), "--runs", str(tmp_path))
    assert "Table 1 on tiny" in told
    (record,) = [one for one in read_records([tmp_path / "records"]) if one.method == "distilled"]
    assert (record.pruning, record.macs) == ("taylor", 0.8)
    assert record.counted["share"] == pytest.approx(0.8, abs=0.05)  # widths of 16 are coarse


def test_experts_are_searched_once_with_the_captions_of_the_images(library, tiny, tmp_path, monkeypatch):
    where = ["--testbed", str(tiny), "--runs", str(tmp_path)]
    lines = [line for line in called("prune", "aptp", *QUICK, *where).splitlines() if line.startswith("expert ")]
    assert [line.split()[1] for line in lines] == ["0", "1"]
    assert len(library) == 6 + 4  # the search's, and then those of suite coco, which are only routed
    assert sum(int(line.split("MACs  ")[1].split()[0]) for line in lines) == 6
    assert called("prune", "route", "a boat", *QUICK, *where).splitlines()[-1].startswith("expert ")
    assert library[10:] == ["a boat"]
    monkeypatch.setattr(search, "Search", partial(search.Search, experts=2, steps=3, macs=0.7))
    bench = workbench_for(Runtime(str(tiny)), tmp_path, Progress())
    assert len(prunings.pruner(bench, "aptp", 0.9).keywords["experts"].shares) == 2
    assert len(library) == 11  # the search that was done serves a run


def test_text_tower_can_replace_the_sentence_encoder(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    path = tiny.parent / "tower.toml"
    path.write_text('like = "tiny.toml"\nsentences = "text tower"\n')
    assert "expert 1  " in called("prune", "aptp", *QUICK, "--testbed", str(path), "--runs", str(tmp_path))
    path.write_text('like = "tiny.toml"\nsentences = "./mpnet"\n')
    assert read(path).sentences == str(tiny.parent / "mpnet")


def test_published_expert_runs_as_its_architecture(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # nothing is searched, so no prompt is read
    base = resolve.load(str(tiny))(device="cpu").base()
    gates = (torch.rand(2, Layout.of(base).length, generator=torch.Generator().manual_seed(0)) < 0.8).float()
    gates[0] = 1
    save_file({"embedding_gs": gates}, tmp_path / "quantizer.safetensors")
    path = tmp_path / "own.toml"
    path.write_text(f'like = "{tiny}"\nname = "own"\nexperts = "quantizer.safetensors"\n')
    bench = workbench_for(Runtime(str(path), device="cpu"), tmp_path, Progress())
    size, length = bench.testbed.sampler.latent_size, bench.testbed.text_length
    small = to_architecture(base, gates[1]).apply(base)
    share = count_macs(small, size, length) / count_macs(base, size, length)
    pruned, architecture = Pruned("aptp", share + 0.02).load(bench)
    assert architecture == to_architecture(base, gates[1])
    assert same(pruned, small)
    assert Pruned("aptp", share + 0.02).counted(bench)["share"] == pytest.approx(share)
    assert not list(tmp_path.glob("artefacts/experts/*"))
    with pytest.raises(BudgetError, match=r"No expert has about 0\.20"):
        Pruned("aptp", 0.2).load(bench)
    key = prunings.further_identity(bench, "aptp")
    save_file({"embedding_gs": gates.flip(0)}, tmp_path / "quantizer.safetensors")
    assert prunings.further_identity(bench, "aptp") != key  # another file is another model
    (tmp_path / "quantizer.safetensors").unlink()
    told = refused(*RUN, "--pruning", "aptp", "--testbed", str(path), "--runs", str(tmp_path))
    assert "quantizer.safetensors are not there: get the quantizer's .safetensors" in told


# what is refused before it costs anything


@pytest.mark.parametrize("how", ["prune", "run"])
@pytest.mark.parametrize("there", [True, False])
def test_unloadable_sentence_encoder_is_refused_before_any_artefact_is_saved(how, there, tiny, tmp_path, monkeypatch):
    class Refusing:
        def __init__(self, name: str, device: str) -> None:
            raise OSError(f"{name} cannot be reached.\nAnd much more.")

    made: Any = ModuleType("sentence_transformers") if there else None
    if there:
        made.SentenceTransformer = Refusing
    monkeypatch.setitem(sys.modules, "sentence_transformers", made)
    command = ["prune", "aptp", *QUICK] if how == "prune" else [*RUN, "--pruning", "aptp"]
    told = refused(*command, "--testbed", str(tiny), "--runs", str(tmp_path))
    assert "The sentence encoder 'sentence-transformers/all-mpnet-base-v2'" in told
    assert ("cannot be reached)" if there else "install the extra `aptp`") in told
    assert 'sentences = "text tower"' in told
    assert not list(tmp_path.glob("artefacts/*/*"))


def test_macs_without_a_matching_expert_are_refused_before_the_search(library, tiny, tmp_path):
    told = refused(*RUN, "--pruning", "aptp", "--macs", "0.2", "--testbed", str(tiny), "--runs", str(tmp_path))
    assert "No expert has about 0.20 of the base's MACs: request one of 0.4" in told
    assert not library
    assert not list(tmp_path.glob("artefacts/*/*"))
