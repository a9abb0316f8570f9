"""Commands on one row find it in the table of a suite or a concept of the user's own, by name or by file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from record_examples import record, write
from test_cli import answer, bench

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
CONCEPT = {"kind": "object", "targets": ["boat"], "anchor": "tree", "neighbours": []}
VALUES = {"shown_targets": 10.0}
MADE = {"time": "2026-01-01T00:00:00+00:00", "suite": {"brings_concept": True}}
PYTHON_SUITE = """
from benchmark.api import Suite

class Boats(Suite):
    name = "boats"
    summary = "boats"
    def prompts(self, testbed, concept):
        return []
    def score(self, evidence):
        raise NotImplementedError
"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A runs folder with a record of a LoRA in the concept `boat`, and one in a suite of a Python file."""
    for name in ("boat.toml", "boat.csv"):
        shutil.copy(EXAMPLES / name, tmp_path / name)
    (tmp_path / "boats.py").write_text(PYTHON_SUITE)
    external: dict[str, Any] = {
        "pruning": "brought",
        "macs": 1.0,
        "variant": "LoRA",
        "label": "boatless",
        "model_key": "ab" * 16,
        "made": MADE,
    }
    write(tmp_path / "runs" / "records", record("boatless", "boat", concept=CONCEPT, values=VALUES, **external))
    write(tmp_path / "runs" / "records", record("boatless", "boats", concept=CONCEPT, values=VALUES, **external))
    return tmp_path / "runs"


def suite_options(folder: Path) -> list[list[str]]:
    return [
        ["--suite", "boat"],
        ["--suite", str(folder / "boat.toml")],
        ["--concept", str(folder / "boat.toml")],
        ["--suite", f"{folder / 'boats.py'}:Boats"],
    ]


@pytest.mark.parametrize("number", range(4))
def test_a_row_of_an_own_suite_is_found_by_its_name_and_by_its_file(runs: Path, number: int) -> None:
    options = [*suite_options(runs.parent)[number], "--runs", str(runs)]
    shown = bench("show", "boatless", *options, "--format", "json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)[0]["suites"][0] == ("boats" if number == 3 else "boat")
    # These two need the weights, so they get as far as asking for them.
    assert "name its file or folder with --checkpoint" in answer(
        bench("export", "boatless", str(runs.parent / "out"), *options)
    )
    assert "name its file or folder with --checkpoint" in answer(bench("footprint", "boatless", *options))


def test_table_and_compare_take_the_file_of_a_concept(runs: Path) -> None:
    concept = ["--concept", str(runs.parent / "boat.toml"), "--runs", str(runs)]
    table = bench("table", *concept, "--format", "json")
    assert table.exit_code == 0, table.output
    assert json.loads(table.stdout)["suite"] == "boat"
    assert "in suite 'boat'" in answer(bench("compare", "boatless", "nobody", *concept))


@pytest.mark.parametrize("command", [["show", "boatless"], ["export", "boatless", "out"], ["table"]])
def test_a_suite_and_a_concept_together_are_refused(runs: Path, command: list[str]) -> None:
    both = ["--suite", "boat", "--concept", str(runs.parent / "boat.toml"), "--runs", str(runs)]
    assert "give one of them" in answer(bench(*command, *both))


def test_a_row_that_another_suite_has_is_refused_with_that_suite(runs: Path) -> None:
    message = answer(bench("export", "boatless", str(runs.parent / "out"), "--runs", str(runs)))
    assert "Suite boat and boats has it: add --suite boat" in message
