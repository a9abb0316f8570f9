"""`evaluate` in Python has what `bench eval` has, and scores the same models."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from test_own_pictures import pictured

from benchmark import evaluate
from benchmark.cli.eval import evaluate as command
from benchmark.cli.eval_options import EvalOptions
from benchmark.errors import UsageError

FUNCTION = """
import numpy as np

def generate(prompts, seeds, size):
    return [np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype("uint8") for seed in seeds]
"""


def test_python_has_every_option_of_the_command_with_the_same_default() -> None:
    of_command = inspect.signature(command).parameters
    of_python = inspect.signature(evaluate).parameters
    assert set(of_python) == set(of_command) - {"ctx"} == {field.name for field in fields(EvalOptions)}
    for name, parameter in of_python.items():
        default: Any = of_command[name].default
        assert (parameter.default or None) == (getattr(default, "value", default) or None), name


@pytest.fixture
def function(tmp_path: Path) -> str:
    (tmp_path / "my.py").write_text(FUNCTION)
    return f"{tmp_path / 'my.py'}:generate"


@pytest.mark.usefixtures("standin")
def test_python_scores_the_pictures_of_a_function_and_checks_requirements(function: str, tmp_path: Path) -> None:
    junit = tmp_path / "report.xml"
    outcome = evaluate(
        generate=function, suite="artists", name="noise", reference="base", alone=True, device="cpu",
        runs=tmp_path / "runs", require=["clip<=1000", "clip>=1000"], junit=junit,
    )  # fmt: skip
    assert [record.label for record in outcome.records] == ["base", "noise (own sampler)"]
    assert outcome.requirements == {"clip <= 1000": True, "clip >= 1000": False}
    assert 'failures="1"' in junit.read_text()


@pytest.mark.usefixtures("standin")
def test_python_scores_pictures_in_a_folder(tmp_path: Path) -> None:
    folder, runs = tmp_path / "theirs", tmp_path / "runs"
    pictured(folder, runs, "--alone")
    outcome = evaluate(images=folder, suite="artists", reference="base", alone=True, device="cpu", runs=runs)
    assert [record.label for record in outcome.records] == ["base", "theirs (own sampler)"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "There is nothing to score"),
        ({"checkpoint": "x", "images": "y"}, "--checkpoint and --images are given"),
        ({"images": "y", "lora_scale": 0.5}, "--lora-scale has no effect here"),
        ({"images": "y", "embedding": ["a.pt"]}, "--embedding has no effect here"),
        ({"checkpoint": "x", "parts": "text"}, "--parts has no 'text'"),
        ({"checkpoint": "x", "reference": "base", "budget": "2h"}, "--budget has no effect here"),
        ({"checkpoint": "x", "require": ["nothing<=1"]}, "there is no column 'nothing'"),
        ({"checkpoint": "x", "junit": "report.xml"}, "--junit writes the results of --require"),
    ],
)
def test_python_refuses_what_the_command_refuses(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(suite="artists", runs=tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()
