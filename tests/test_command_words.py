"""The command line that a record states gives the run that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_group

from benchmark.cli.app import app
from benchmark.cli.command_words import command_words
from benchmark.cli.eval import evaluate
from benchmark.cli.run_options import RunOptions
from benchmark.records.portable_paths import portable, shell_text

RUN = [
    "--method", "bilevel", "--suite", "artists", "--macs", "0.55", "--targets", "Claude Monet,Henri Matisse", "--seed",
    "3", "--set", "upper_rate=1e-3", "--set", "solver=penalty", "--budget", "60it", "--limit", "2", "--alone",
    "--metric", "kid", "--device", "cpu", "--reference", "base", "--reveal", "--precision", "bf16", "--compile",
]  # fmt: skip
EVAL = [
    "--suite", "artists", "--checkpoint", "my weights.safetensors", "--name", "mine", "--parts", "unet", "--embedding",
    "a.pt", "--embedding", "b.pt", "--weights", "int8", "--lora-scale", "0.0", "--reference", "base", "--require",
    "clip<=30",
]  # fmt: skip


def params(command: str, words: list[str]) -> dict[str, Any]:
    return get_group(app).commands[command].make_context(command, list(words)).params


@pytest.mark.parametrize(("command", "declared", "words"), [("run", RunOptions, RUN), ("eval", evaluate, EVAL)])
def test_the_command_of_a_run_has_every_option_that_was_typed(command: str, declared: Any, words: list[str]) -> None:
    values = params(command, words)
    written = command_words(command, declared, values)
    assert written[:2] == ("bench", command)
    assert sorted(written[2:]) == sorted(words)
    assert params(command, list(written[2:])) == values


def test_options_at_their_defaults_the_runs_folder_and_consent_are_left_out(tmp_path: Path) -> None:
    words = ["--method", "uce", "--suite", "coco", "--seed", "0", "--runs", str(tmp_path), "--yes"]
    written = command_words("run", RunOptions, params("run", words))
    assert written == ("bench", "run", "--method", "uce", "--suite", "coco")


def test_each_of_several_runs_has_its_own_command() -> None:
    options = RunOptions(method="distilled", suite="coco", budget="60it,20it")
    first, second = options.requests()
    assert first.command[-2:] == ("--budget", "60it")
    assert second.command[-2:] == ("--budget", "20it")
    assert first.command[:4] == ("bench", "run", "--method", "distilled")


def test_numbers_that_json_does_not_have_become_texts() -> None:
    assert portable({"a": [float("inf"), 1.5, True]}) == {"a": ["inf", 1.5, True]}


def test_the_home_of_the_user_is_not_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "ann"
    monkeypatch.setenv("HOME", str(home))
    words = ["bench", "run", "--method", f"{home}/my.py:Mine", "--set", f"objective={home}/o.py:O", "--suite", "a b"]
    stored = portable({"command": words, "else": [f"{home}2/x", f"/data{home}", home.name, 3, None]})
    assert stored["command"][3] == "~/my.py:Mine"
    assert stored["command"][5] == "objective=~/o.py:O"
    assert stored["else"] == [f"{home}2/x", f"/data{home}", "ann", 3, None]
    assert shell_text(stored["command"]) == ("bench run --method ~/my.py:Mine --set 'objective=~/o.py:O' --suite 'a b'")
