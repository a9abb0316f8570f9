"""The exported folder of a user's own LoRA: its card states what it is, and its files fit other machines."""

import hashlib
import json
import os
import re
from pathlib import Path

import loras
import pytest
import torch
from record_examples import cell, record
from standin import Standin
from test_cli import bench

from benchmark.export.card import model_card
from benchmark.export.pipeline_folder import write_pipeline
from methods.sampling import initial_noise

SAMPLER = {"scheduler": "pndm", "steps": 25, "guidance": 4.0, "latent_channels": 4, "latent_size": 16}
MADE = {
    "time": "2026-01-01", "versions": {"torch": "2.11"}, "suite": {"columns": [{"key": "shown_targets"}], "brings": []},
}  # fmt: skip


def card(*, files: dict[str, str] | None = None, **facts) -> str:
    return model_card([record("catless", **facts)], "mit", SAMPLER, False, False, Path("out"), files)


def test_the_card_of_an_own_lora_names_its_file_and_no_settings_of_a_training(standin: Path, tmp_path: Path) -> None:
    layers = ("mid_block.attentions.0.transformer_blocks.0.attn2.to_k",)
    made = loras.factors(Standin(standin).base(), layers)
    file = loras.write(tmp_path / "lora", loras.named(made, "diffusers"), "diffusers", "safetensors")
    words = ["--checkpoint", str(file), "--runs", str(tmp_path / "runs")]
    scored = bench("eval", *words, "--suite", "artists", "--alone", "--reference", "base", "--name", "mine")
    assert scored.exit_code == 0, scored.output
    exported = bench("export", "mine (LoRA)", str(tmp_path / "out"), *words)
    assert exported.exit_code == 0, exported.output
    text = (tmp_path / "out" / "README.md").read_text()
    assert f"- file `{file.name}`: sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}" in text
    assert f"from an external checkpoint (`{file.name}`)" in text
    assert not re.search("brought|training seed|preset|budget|destination/|default", text)


def test_the_card_states_the_suite_by_name_and_file_and_the_budget_without_its_flag() -> None:
    plugin = {"group": "suites", "name": "cat", "file": "~/my/cat.toml", "sha256": "0"}
    values = {"clip": 26.0, "destination/A/B": cell("destination/A/B", 0.1, unit="share")}
    text = card(suite="cat", plugins=[plugin], made=MADE, values=values)
    assert "- suite: cat (cat.toml)\n" in text
    assert "- budget: flops 1000000000000000.0\n" in text
    assert "- versions: torch 2.11\n" in text
    assert not re.search(r"columns|destination/|settings beyond the preset", text)
    assert "training seed" in text
    assert "training seed" not in model_card([record("base")], "mit", SAMPLER, False, False, Path("out"))


def test_the_latents_of_the_card_are_those_of_the_scored_pictures() -> None:
    [line] = [line for line in card().splitlines() if line.startswith("latents = ")]
    names = {"torch": torch, "seed": 7}
    exec(line, names)
    assert torch.equal(names["latents"], initial_noise([7], (4, 16, 16)))  # type: ignore[arg-type]
    assert "PNDM without Runge-Kutta steps, with 25 steps and guidance 4" in card()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_exported_files_follow_the_umask_and_name_no_place_of_this_machine(
    umask: int, mode: int, standin: Path, tmp_path: Path
) -> None:
    testbed, earlier = Standin(standin), os.umask(umask)
    try:
        write_pipeline(tmp_path / "out", testbed, testbed.base(), None, "card")
    finally:
        os.umask(earlier)
    files = [file for file in (tmp_path / "out").glob("**/*") if file.is_file()]
    assert any(file.suffix == ".safetensors" for file in files)
    assert {file.stat().st_mode & 0o777 for file in files} == {mode}
    for config in (tmp_path / "out").glob("**/*.json"):
        assert str(standin) not in config.read_text()
        settings = json.loads(config.read_text())
        assert not isinstance(settings, dict) or "_name_or_path" not in settings
