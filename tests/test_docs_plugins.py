"""What docs/plugins.md shows of methods, objectives, prunings and testbeds works as it stands there."""

import pytest
from docs_plugins import FILES, written
from standin import whole

from benchmark.plugin_checks.method import MethodChecks
from benchmark.plugin_checks.objective import ObjectiveChecks
from benchmark.plugin_checks.pruning import PruningChecks
from benchmark.testbeds import resolve


def states(lines) -> dict[str, str]:
    return {line.subject: line.state for line in lines}


def test_method_of_the_docs_passes_all_checks(tmp_path):
    checks = MethodChecks(f"{written('fade.py', tmp_path)}:Fade")
    kept = dict.fromkeys(("contract", "fit", "budget", "determinism"), "kept")
    assert states(checks.lines()) == {**kept, "resume": "untried"}


def test_objective_of_the_docs_passes_its_checks(tmp_path):
    checks = ObjectiveChecks(f"{written('halfway.py', tmp_path)}:Halfway")
    assert checks.contract()
    assert checks.target().startswith("is computed from anchor, null")


def test_pruning_of_the_docs_passes_all_checks(tmp_path):
    checks = PruningChecks(f"{written('largest.py', tmp_path)}:largest")
    assert set(states(checks.lines()).values()) == {"kept"}


def test_testbeds_of_the_docs_load(tmp_path):
    klimt = resolve.load(str(written("klimt.toml", tmp_path)))(device="cpu")
    assert (klimt.name, klimt.concept(()).targets, klimt.sampler.steps) == ("klimt", ("Gustav Klimt",), 10)
    boats = resolve.load(f"{written('boats.py', tmp_path)}:Boats")(device="cpu")
    prompts = boats.prompts("artists", boats.concept(()))
    assert {"targets", "kept", "neighbours"} <= {prompt.part for prompt in prompts}
    assert all("boat" in prompt.text for prompt in prompts if prompt.part == "targets")


@pytest.mark.usefixtures("standin")
def test_the_docs_training_method_runs_and_gets_its_row(tmp_path):
    file = written("hush.py", tmp_path)
    assert len([line for line in FILES["hush.py"].splitlines() if line.strip()]) <= 30
    outcome = whole(tmp_path / "runs", method=f"{file}:Hush", alone=True, overrides={"batch": 4}, budget="5it")
    (row,) = [record for record in outcome.records if record.method not in ("base", "distilled")]
    assert {entry["phase"]: entry["iterations"] for entry in row.ledger if entry["iterations"]} == {
        "lower": 4,
        "forget": 1,
    }
    assert row.cells["clip"].n == row.cells["clip"].of > 0


@pytest.mark.usefixtures("standin")
def test_the_docs_objective_is_another_when_its_file_changes(tmp_path):
    file, rows = tmp_path / "halfway.py", []
    for code in (FILES["halfway.py"], FILES["halfway.py"].replace('answers["null"])', '2 * answers["null"])')):
        file.write_text(code)
        overrides = {"batch": 4, "lower_steps": 1, "objective": f"{file}:Halfway"}
        outcome = whole(tmp_path / "runs", alone=True, overrides=overrides, budget="4it")
        rows.append(next(record for record in outcome.records if record.method == "bilevel"))
    assert rows[0].cells["drift"] != rows[1].cells["drift"]
    assert "objective=" in rows[0].variant
