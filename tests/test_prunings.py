"""Prunings that need an expert search or published vectors, as the command line runs them."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from standin import ASKED
from typer.testing import CliRunner, Result

from benchmark.cli.app import app


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(result: Result) -> str:
    """The one sentence that a command ends with; what was done before it may have been told."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    *before, last = result.stderr.splitlines()
    assert last.startswith("error: ")
    assert not any(line.startswith("error: ") for line in before)
    return last


QUICK = ["--experts", "3", "--steps", "4", "--macs", "0.7"]


def test_search_runs_once_and_routes_every_prompt(standin: Path, tmp_path: Path) -> None:
    first = bench("prune", "aptp", *QUICK, "--runs", str(tmp_path))
    assert first.exit_code == 0, first.output
    lines, _, routed = (part.splitlines() for part in first.stdout.split("\n\n", 2))
    assert [line.split()[:2] for line in lines] == [["expert", str(k)] for k in range(3)]
    made = list((tmp_path / "artefacts" / "experts").glob("*/search.json"))
    assert len(made) == 1
    told = json.loads(made[0].read_text())
    assert len(told["curve"]) == 4
    assert sum(told["prompts"]) == 40
    taken = [int(line.split("|")[3]) for line in routed if line.startswith(("| 0", "| 1", "| 2"))]
    assert len(taken) == 3
    assert sum(taken) == ASKED["coco"]
    asked = bench("prune", "route", "a boat by Claude Monet", *QUICK, "--runs", str(tmp_path))
    assert asked.exit_code == 0, asked.output
    number, share = asked.stdout.split()[1:3]
    assert any(line.startswith(f"expert {number}  {share}") for line in lines)
    assert "search" not in asked.stderr
    assert len(list((tmp_path / "artefacts" / "experts").iterdir())) == 1


KILLED = """
import os, signal, sys
import standin
from pathlib import Path
from benchmark.store import checkpoints
from benchmark.cli import app
from methods.pruning.aptp import search

search.CHECKPOINT_EVERY = 1
save = checkpoints.Checkpointer.save
def kill(self, state):
    save(self, state)
    if len(state.meta["told"]) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoints.Checkpointer.save = kill
standin.install(Path(sys.argv[1]))
app(sys.argv[2:])
"""


def test_killed_search_resumes_to_the_same_experts(standin: Path, warm_python: str, tmp_path: Path) -> None:
    words = ["prune", "aptp", *QUICK, "--runs"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    first = bench(*words, str(whole))
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([warm_python, "-c", KILLED, str(standin), *words, str(killed)], check=False, env=here)
    assert done.returncode == -signal.SIGKILL
    assert list(killed.glob("scratch/experts/*/checkpoint-000002"))
    again = bench(*words, str(killed))
    assert again.exit_code == 0, again.output
    assert again.stdout == first.stdout
    for name in ("experts.safetensors", "experts.json", "search.json"):
        (one,), (other,) = (list(home.glob(f"artefacts/experts/*/{name}")) for home in (whole, killed))
        assert one.read_bytes() == other.read_bytes()
    assert not list(killed.glob("scratch/experts/*"))


def test_empty_prompt_or_invalid_file_is_refused_before_loading_the_testbed(tmp_path: Path, monkeypatch) -> None:
    from benchmark.cli import prune

    monkeypatch.setattr(prune, "_bench", lambda *given: pytest.fail("the testbed is looked for"))
    assert "PROMPT is empty" in refused(bench("prune", "route", "  ", *QUICK, "--runs", str(tmp_path)))
    for name in ("missing.safetensors", "."):
        assert "contains no architecture vectors" in refused(bench("prune", "published", str(tmp_path / name)))


@pytest.mark.parametrize("macs", ["0", "nan", "1.5", "-1"])
def test_macs_out_of_range_are_refused_before_the_search(macs: str, tmp_path: Path) -> None:
    assert "above 0 and at most 1" in refused(bench("prune", "aptp", "--macs", macs, "--runs", str(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_unreachable_macs_are_refused_with_the_reachable_minimum(standin: Path, tmp_path: Path) -> None:
    text = refused(bench("prune", "aptp", "--macs", "0.01", "--runs", str(tmp_path)))
    assert "cannot be reached" in text
    assert "request at least" in text


def test_published_vectors_are_described_or_refused_for_a_different_base(standin: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from benchmark.testbeds.mini import testbed
    from methods.pruning.macs import count_macs, published_macs
    from methods.pruning.vector import Layout, to_architecture

    length = Layout.of(testbed.Mini().base()).length  # type: ignore[call-arg]
    gates = torch.ones(2, length)
    gates[1, ::2] = 0
    save_file({"embedding_gs": gates}, tmp_path / "right.safetensors")
    save_file({"embedding_gs": torch.ones(2, length + 1)}, tmp_path / "wrong.safetensors")
    right = bench("prune", "published", str(tmp_path / "right.safetensors"))
    whole, half = right.stdout.splitlines()
    assert whole == "expert 0  100.0% of MACs (100.0% as published)  0 of 9 blocks dropped"
    base = testbed.Mini().base()  # type: ignore[call-arg]
    small = to_architecture(base, gates[1]).apply(base)
    share, published = (count(small) / count(base) for count in (partial(count_macs, latent_size=16, text_length=32),
                                                                 published_macs))  # fmt: skip
    assert half.startswith(f"expert 1  {share:.1%} of MACs ({published:.1%} as published)  ")
    assert "values, not" in refused(bench("prune", "published", str(tmp_path / "wrong.safetensors")))
    assert "Expert 2 does not exist" in refused(
        bench("prune", "published", str(tmp_path / "right.safetensors"), "--expert", "2")
    )
    assert (
        "keeps up_blocks.2" in bench("prune", "published", str(tmp_path / "right.safetensors"), "--expert", "0").stdout
    )


def test_only_the_aptp_identity_includes_the_experts(standin: Path, tmp_path: Path) -> None:
    from benchmark.api.request import Runtime
    from benchmark.console import Progress
    from benchmark.models.pruned import Pruned
    from benchmark.pipeline.setup import workbench_for

    place = workbench_for(Runtime(device="cpu"), tmp_path, Progress())
    for name in ("magnitude", "none", "random", "blocks"):
        assert set(Pruned(name, 0.8).identity(place)) == {"testbed", "weights", "data", "pruning", "macs", "cut"}
    assert "experts" in Pruned("aptp", 0.8).identity(place)


def test_unloadable_sentence_encoder_gives_one_sentence(
    standin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    from standin import Standin

    monkeypatch.setattr(Standin, "sentences", "no/such-encoder")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    assert "no/such-encoder" in refused(bench("prune", "aptp", *QUICK, "--runs", str(tmp_path)))
