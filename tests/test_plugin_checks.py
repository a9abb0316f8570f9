"""`bench doctor --method`: what a plug-in does against its contract is found on a miniature."""

from pathlib import Path

import pytest
from test_cli import bench
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.plugin_checks.method import MethodChecks
from benchmark.plugin_checks.pruning import PruningChecks

METHOD = """
import torch
from pydantic import BaseModel
from benchmark.api import Entry, Method, State
from methods.config_fields import runtime

class Settings(BaseModel):
    checkpoint_every: int = runtime(1, "Steps.")

class Steps(Method):
    name, summary, start, Config = "steps", "adds noise step by step", "pruned", Settings

    def fit(self, student, materials, concept, budget, context, seed):
        weight = student.conv_in.weight.data
        done = 0
        if state := context.checkpoint.load():
            weight.copy_(state.tensors["weight"])
            done = state.meta["done"]
        passes = min(4, budget.iterations) if budget.iterations else 4
        while done < passes:
            done += 1
            source = torch.Generator().manual_seed(seed + done)
            weight += torch.randn(weight.shape, generator=source)
            context.checkpoint.save(State({"weight": weight}, {"done": done}))
        context.ledger.append(Entry(phase="steps", iterations=done, images=0, unet_forwards=0, unet_backwards=0,
                                    flops=0, wall_seconds=0.0, device_seconds=0.0, peak_memory_bytes=0))
        return student.eval()
"""


def checks_of(tmp_path: Path, old: str = "", new: str = "") -> dict[str, tuple[str, str]]:
    assert old in METHOD
    path = tmp_path / "steps.py"
    path.write_text(METHOD.replace(old, new, 1) if old else METHOD)
    return {line.subject: (line.state, line.message) for line in MethodChecks(f"{path}:Steps").lines()}


def test_method_that_keeps_its_contract_passes(tmp_path):
    lines = checks_of(tmp_path)
    assert list(lines) == ["contract", "fit", "budget", "determinism", "resume"]
    assert {state for state, _ in lines.values()} == {"kept"}


@pytest.mark.parametrize(
    ("old", "new", "subject", "message"),
    [
        ("summary,", "_,", "contract", "it lacks summary"),
        ("return student.eval()", "return None", "fit", "fit returned NoneType: it must return the U-Net"),
        ("return student.eval()", "return student.train()", "fit", "training mode"),
        ("weight +=", "weight /= 0; weight +=", "fit", "not finite"),
        ("done = 0\n", "done = 1 / 0\n", "fit", "ZeroDivisionError: division by zero ("),
        ("context.ledger.append(", "print(", "fit", "fit wrote nothing into context.ledger"),
        ("weight = student.conv_in", "materials.teacher.conv_in.weight.data += 1; weight = student.conv_in", "fit",
         "changed the weights of materials.teacher"),
        ("iterations=done", "iterations=done + 1", "budget", "took 5 iterations with a budget of 4"),
        ("flops=0", "flops=10**9 if budget.iterations else 10**12", "budget", "FLOPs with a budget of 1.5e+09"),
        ("done = 0\n", "done = 0; student(torch.zeros(3, 4, 8, 8), 1, materials.null.expand(3, -1, -1))\n", "budget",
         "its U-Nets processed 3 images, but the ledger has 0 forward passes"),
        ("generator=source", "generator=None", "determinism", "gave different weights"),
        ('weight.copy_(state.tensors["weight"])', "pass", "resume", "a resumed fit gave different weights"),
    ],
)  # fmt: skip
def test_fault_of_a_method_is_found(tmp_path, old, new, subject, message):
    last_subject, (state, text) = list(checks_of(tmp_path, old, new).items())[-1]
    assert (last_subject, state) == (subject, "broken")
    assert message in text
    assert "\n" not in text


PRUNING = """
import copy
import torch
from methods.pruning.magnitude import prune

def idle(unet, macs, latent_size, text_length):
    return prune(unet, 1.0, latent_size, text_length)

def changing(unet, macs, latent_size, text_length):
    unet.conv_in.weight.data += 1
    return prune(unet, macs, latent_size, text_length)

def nothing(unet, macs, latent_size, text_length):
    return copy.deepcopy(unet)

def short(unet):
    return unet

def random(unet, macs, latent_size, text_length):
    small, architecture = prune(unet, macs, latent_size, text_length)
    small.conv_in.weight.data += torch.rand(1)
    return small, architecture
"""


@pytest.mark.parametrize(
    ("name", "subject", "message"),
    [
        ("idle", "MACs", "kept 100.0% of MACs instead of 80%"),
        ("changing", "prune", "changed the base model"),
        ("nothing", "prune", "must return a smaller copy of the U-Net and its Architecture"),
        ("short", "contract", "does not have the parameters of prunings"),
        ("random", "determinism", "to different weights"),
    ],
)
def test_fault_of_a_pruning_is_found(tmp_path, name, subject, message):
    path = tmp_path / "mine.py"
    path.write_text(PRUNING)
    last = list(PruningChecks(f"{path}:{name}").lines())[-1]
    assert (last.state, last.subject) == ("broken", subject)
    assert message in last.message


def test_command_prints_a_line_a_check_and_ends_with_1(tmp_path):
    path = tmp_path / "steps.py"
    path.write_text(METHOD)
    result = CliRunner().invoke(app, ["doctor", "--method", f"{path}:Steps"])
    assert result.exit_code == 0, result.output
    assert [line[:2] for line in result.stdout.splitlines()] == ["✓ "] * 5
    path.write_text(METHOD.replace("return student.eval()", "return None"))
    result = CliRunner().invoke(app, ["doctor", "--method", f"{path}:Steps"])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("✗ fit")


@pytest.mark.parametrize(
    "words", [("--method", "gone.py:Gone"), ("--method", "bilevl"), ("--method", "uce", "--online")]
)
def test_wrong_name_or_option_ends_with_2(words):
    assert CliRunner().invoke(app, ["doctor", *words]).exit_code == 2


METRIC = """
from benchmark.api import Column, Metric

class Spread(Metric):
    name, summary, encoders = "spread", "distances", ("features",)
    columns = (Column("spread", "spread", higher_is_better=True), Column("widest", "widest", higher_is_better=True))

    def update(self, evidence, rows):
        features = evidence.own["features"][rows]
        self.distances = (features - features.mean(dim=0)).norm(dim=1)

    def per_image(self):
        return {"spread": self.distances.tolist()}

    def compute(self):
        return {"widest": float(self.distances.max())}
"""
SUITE = """
from benchmark.api import Prompt, Suite

class Puddles(Suite):
    name, summary, metrics = "puddles", "puddles", ("clip", "spread.py:Spread")

    def prompts(self, testbed, concept):
        return [Prompt(f"puddle-{k}", "a puddle", k, "targets", name) for k, name in enumerate(concept.targets)]
"""


@pytest.fixture
def scoring_plugins(tmp_path: Path) -> Path:
    (tmp_path / "spread.py").write_text(METRIC)
    (tmp_path / "puddles.py").write_text(SUITE)
    return tmp_path


@pytest.mark.usefixtures("standin")
def test_suite_and_metric_are_checked_on_random_features(scoring_plugins: Path) -> None:
    names = [str(scoring_plugins / "puddles.py:Puddles"), str(scoring_plugins / "spread.py:Spread")]
    result = bench("doctor", "--suite", names[0], "--metric", names[1])
    assert result.exit_code == 0, result.output
    assert "3 prompts in parts targets" in result.stdout
    assert "computes clip, spread, widest from random features" in result.stdout
    assert result.stdout.count("✓ repeat") == 2


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"widest": float', '"other": float', "spread, other"),
        ("self.distances.max()", "self.missing", "has no attribute 'missing'"),
        ("float(self.distances.max())", "__import__('random').random()", "computes different scores"),
    ],
)
def test_fault_of_a_metric_is_found_before_any_training(
    scoring_plugins: Path, old: str, new: str, message: str
) -> None:
    (scoring_plugins / "spread.py").write_text(METRIC.replace(old, new))
    result = bench("doctor", "--metric", str(scoring_plugins / "spread.py:Spread"))
    assert result.exit_code == 1
    assert "✗" in result.stdout
    assert message in result.stdout
