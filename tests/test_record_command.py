"""The command that is rebuilt from a record asks for the run that made it."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from record_examples import TARGETS, record
from typer.main import get_group

from benchmark import registry
from benchmark.api.request import RunRequest
from benchmark.cli.app import app
from benchmark.cli.run_options import RunOptions
from benchmark.records.command import command_of, settings_of
from benchmark.records.record import Record, read_records
from benchmark.testbeds.resolve import default_targets
from methods.base import configure
from methods.config_fields import settings_of as config_settings

COMMITTED = read_records([Path(__file__).parents[1] / "results" / "mini" / folder for folder in ("records", "studies")])
STYLES = [r for r in COMMITTED if r.method != "base" and r.concept["kind"] == "style"]


def parsed(command: str) -> RunRequest:
    """The request of a `bench run`, read by the options of the command itself."""
    words = shlex.split(command)
    assert words[:2] == ["bench", "run"], command
    run = get_group(app).commands["run"]
    values: dict[str, Any] = run.make_context("run", words[2:]).params
    (request,) = RunOptions(**{field.name: values[field.name] for field in fields(RunOptions)}).requests()
    return request


def facts(request: RunRequest) -> dict[str, Any]:
    """What a request has in common with a record."""
    return {
        "method": request.method, "testbed": request.testbed, "pruning": request.pruning,
        "macs": 1.0 if request.pruning == "none" else request.macs, "preset": request.preset or "default",
        "settings": request.overrides, "targets": list(request.targets or default_targets(request.testbed)),
        "seed": request.seed, "budget": request.budget, "data": request.data, "kept_names": request.kept_names,
        "limit": request.limit, "reference": request.reference, "precision": request.precision,
        "as_published": request.as_published,
    }  # fmt: skip


def recorded(made: Record, budget: str) -> dict[str, Any]:
    settings, kept_names = settings_of(made)
    return {
        "method": made.method, "testbed": made.testbed, "pruning": made.pruning, "macs": made.macs,
        "preset": made.preset, "settings": settings, "targets": made.concept["targets"], "seed": made.seed,
        "budget": budget, "data": made.data, "kept_names": kept_names, "limit": made.sampler.get("limit"),
        "reference": "base" if made.reference == "base" else "distilled",
        "precision": made.sampler.get("precision", ""), "as_published": bool(made.sampler.get("as_published")),
    }  # fmt: skip


def variant_of(request: RunRequest) -> str:
    """The variant that a run of the request writes into its record."""
    method = registry.load("methods", request.method)
    preset = request.preset or "default"
    usual = config_settings(configure(method, preset).config)
    settings = config_settings(configure(method, preset, **request.overrides).config)
    changed = {key: value for key, value in settings.items() if value != usual[key]}
    if method.reads_kept_names and request.kept_names != "all":
        changed["kept_names"] = request.kept_names
    return ",".join(f"{key}={value}" for key, value in sorted(changed.items())) or "default"


def test_commands_of_all_committed_records_ask_for_their_runs() -> None:
    assert len(STYLES) > 150
    assert any(r.variant != "default" for r in STYLES)
    usual = default_targets("mini")
    for made in STYLES:
        budget = "default"
        if made.budget["default"] is False:
            budget = f"{made.budget['iterations']}it" if made.budget.get("iterations") else made.budget["flops"]
        request = parsed(command_of(made, usual_targets=usual).text)
        assert request.suite == made.suite
        found = facts(request)
        if isinstance(budget, float):
            found["budget"] = float(found["budget"])
        assert found == recorded(made, budget), made.stem
        assert variant_of(request) == made.variant


@pytest.mark.parametrize(
    ("variant", "settings", "kept_names"),
    [
        ("rate=0.0003,solver=penalty", {"rate": 0.0003, "solver": "penalty"}, "all"),
        ("flag=True,kept_names=half:0,sizes=[1, 2]", {"flag": True, "sizes": [1, 2]}, "half:0"),
        ("names=['a=b, c', 'd'],steps=None", {"names": ["a=b, c", "d"], "steps": None}, "all"),
        ("objective=my folder/halfway.py:Halfway", {"objective": "my folder/halfway.py:Halfway"}, "all"),
        ("rate=1e-05", {"rate": 1e-05}, "all"),
    ],
)
def test_settings_of_every_type_survive_the_command(variant: str, settings: dict[str, Any], kept_names: str) -> None:
    made = record("bilevel", variant=variant)
    assert settings_of(made) == (settings, kept_names)
    request = parsed(command_of(made, usual_targets=TARGETS).text)
    assert (request.overrides, request.kept_names) == (settings, kept_names)


def test_every_option_that_changes_a_record_is_in_its_command() -> None:
    made = record(
        "esd", preset="released", pruning="taylor", macs=0.55, seed=3, data="all-but-targets", reference="base",
        budget={"flops": 1.5e13, "default": False},
        sampler={"steps": 20, "precision": "bf16", "as_published": True, "limit": 4},
        concept={"kind": "style", "targets": ["Claude Monet", "Edvard Munch"]},
    )  # fmt: skip
    request = parsed(command_of(made, usual_targets=TARGETS).text)
    found = facts(request)
    assert float(found.pop("budget")) == 1.5e13
    expected = recorded(made, "")
    del expected["budget"]
    assert found == expected


def test_iterations_and_unpruned_models_are_asked_for_as_they_were() -> None:
    made = record("distilled", pruning="none", macs=1.0, budget={"iterations": 20, "default": False})
    request = parsed(command_of(made, usual_targets=TARGETS).text)
    assert (request.budget, request.pruning) == ("20it", "none")


def test_base_is_made_by_the_run_of_its_reference() -> None:
    reference = record("distilled", pruning="taylor", macs=0.7)
    request = parsed(command_of(record("base"), reference=reference, usual_targets=TARGETS).text)
    assert (request.method, request.pruning, request.macs) == ("distilled", "taylor", 0.7)


def test_plain_captions_of_an_explicit_run_belong_to_an_explicit_suite() -> None:
    made = record("uce", "coco", concept={"kind": "explicit", "targets": ["saltire"]})
    assert "--suite i2p" in command_of(made).text
    assert "--suite mma" in command_of(made, suite="mma").text
    assert "--targets" not in command_of(made).text


def test_external_checkpoints_and_unnamed_files_are_remarked() -> None:
    made = record(
        "mine", pruning="brought", data="brought", counted={"checkpoint": "abcdef0123456789", "parts": "unet"},
        suite="ponds", world={"suite": {"code": "sha256:1"}}, testbed="boats",
    )  # fmt: skip
    command = command_of(made, usual_targets=TARGETS)
    assert command.text == ("bench eval --checkpoint CHECKPOINT --suite ponds --name mine --parts unet --testbed boats")
    assert "abcdef012345" in command.remarks[0]
    assert "file of suite 'ponds'" in command.remarks[1]
    assert "file of testbed 'boats'" in command.remarks[2]


def test_added_metrics_are_in_the_command_and_those_of_a_plug_in_suite_are_not() -> None:
    facts_of_suite = {"columns": [{"key": "kid"}, {"key": "variety"}], "metrics": {"variety.py:Variety": "sha256:1"}}
    made = record("esd", made={"suite": facts_of_suite})
    command = command_of(made, usual_targets=TARGETS)
    assert command.text.endswith("--metric variety.py:Variety --metric kid")
    assert "without their folders" in command.remarks[0]
    own = record("esd", suite="ponds", made={"suite": facts_of_suite}, world={"suite": {"code": "x"}})
    assert "--metric" not in command_of(own).text


def test_a_stored_command_is_preferred_and_remarked_for_rows_beside_it() -> None:
    words = ["bench", "run", "--method", "~/my.py:Ridge", "--suite", "artists", "--set", "rate=[1, 2]"]
    own = command_of(record("somewhere/my.py:Ridge", command=words))
    assert own == ("bench run --method ~/my.py:Ridge --suite artists --set 'rate=[1, 2]'", ())
    reference = command_of(record("distilled", command=words))
    assert reference.text == own.text
    assert reference.remarks == ("This row was made beside Ridge, as its base or reference.",)
    scored = ["bench", "eval", "--checkpoint", "x.pt", "--suite", "artists"]
    assert command_of(record("x", pruning="brought", data="brought", command=scored)).remarks == ()
    assert "`bench eval`" in command_of(record("base", command=scored)).remarks[0]
