"""Methods that start from the distilled model include its full cost and reuse the reference where it is the same."""

import json
from pathlib import Path

import pytest
from standin import Standin, whole

from benchmark.errors import BudgetError, UsageError
from benchmark.models import fit
from methods.distilled import Distilled

pytestmark = pytest.mark.usefixtures("standin")

LATE = """
from methods.distilled import Distilled
from methods.bilevel.method import Bilevel

class Late(Bilevel):
    name, start, own_share = "late", "distilled", 0.25

class Based(Distilled):
    name, start = "based", "base"
"""


def phases(outcome, method):
    """phase -> iterations, in the ledger of the method's row."""
    row = next(one for one in outcome.records if one.method.endswith(method))
    return {entry["phase"]: entry["iterations"] for entry in row.ledger}, row


def models(home: Path) -> list[dict]:
    return [json.loads(path.read_text())["identity"] for path in home.glob("artefacts/model/*/artefact.json")]


def test_uce_edits_the_reference_and_its_ledger_includes_the_distillation(tmp_path):
    outcome = whole(tmp_path, method="uce", overrides={}, alone=True)
    spent, row = phases(outcome, "uce")
    reference, distilled = phases(outcome, "distilled")
    assert spent == {**reference, "uce": 1}
    assert row.ledger[0]["flops"] == distilled.ledger[0]["flops"]
    whole_ones = [one for one in models(tmp_path) if one["budget"]["flops"] == row.budget["flops"]]
    assert sorted(one["method"] for one in whole_ones) == ["distilled", "uce"]  # one distillation, not two
    assert row.cells["drift"].value > distilled.cells["drift"].value


def test_a_second_stage_gets_its_share_of_the_budget_and_distillation_the_rest(tmp_path):
    file = tmp_path / "late.py"
    file.write_text(LATE)
    home = tmp_path / "runs"
    outcome = whole(home, method=f"{file}:Late", overrides={"batch": 4, "lower_steps": 1}, budget="8it", alone=True)
    _, row = phases(outcome, "Late")
    spent = [(entry["phase"], entry["iterations"]) for entry in row.ledger]
    assert spent == [("lower", 6), ("concept images", 0), ("lower", 1), ("upper", 1)]
    assert sorted(one["budget"]["iterations"] for one in models(home) if "iterations" in one["budget"]) == [6, 8, 8]
    with pytest.raises(BudgetError, match="concept images"):
        whole(home, method=f"{file}:Late", overrides={"batch": 4}, budget="1e6", alone=True)


def test_intermediate_model_equals_one_trained_separately(tmp_path, monkeypatch):
    monkeypatch.setattr(Standin, "default_flops", 1.5e11)
    esd = {"method": "esd", "overrides": {"batch": 2, "steps": 4, "rate": 1e-6}, "alone": True}
    whole(tmp_path / "on the way", method="distilled", overrides={}, alone=True)
    shares = sorted(one["budget"]["flops"] / Standin.default_flops for one in models(tmp_path / "on the way"))
    assert shares == pytest.approx([0.5, 0.8, 0.95, 1])
    with monkeypatch.context() as patch:
        patch.setattr(Distilled, "fit", lambda *told: pytest.fail("distilled again"))
        spent, passed = phases(whole(tmp_path / "on the way", **esd), "esd")
    monkeypatch.setattr(fit, "_milestones", lambda *told: {})
    again, alone = phases(whole(tmp_path / "alone", **esd), "esd")
    assert (spent, passed.cells) == (again, alone.cells)
    assert passed.ledger[0]["flops"] == alone.ledger[0]["flops"]


def test_several_budgets_share_one_training_and_equal_separate_runs(tmp_path, monkeypatch):
    asked = {"method": "distilled", "overrides": {}, "alone": True}
    whole(tmp_path / "together", budget="6it", along=("4it", "1it"), **asked)
    kept = sorted(one["budget"]["iterations"] for one in models(tmp_path / "together") if "iterations" in one["budget"])
    assert kept == [1, 4, 6]
    with monkeypatch.context() as patch:
        patch.setattr(Distilled, "fit", lambda *told: pytest.fail("distilled again"))
        spent, passed = phases(whole(tmp_path / "together", budget="4it", **asked), "distilled")
    again, alone = phases(whole(tmp_path / "alone", budget="4it", **asked), "distilled")
    assert spent == again == {"lower": 4}
    assert passed.cells == alone.cells


def test_second_stages_share_one_distillation(tmp_path, monkeypatch):
    monkeypatch.setattr(Standin, "default_flops", 2e11)
    seeded = {"seed": 1, "alone": True, "overrides": {}}
    whole(tmp_path, method="conceptprune", **seeded)
    own = [one for one in models(tmp_path) if one["seed"] == 1 and one["method"] == "distilled"]
    assert sorted(one["budget"]["flops"] / Standin.default_flops for one in own) == pytest.approx([0.5, 0.8, 0.95])
    monkeypatch.setattr(Distilled, "fit", lambda *told: pytest.fail("distilled again"))
    whole(tmp_path, **{**seeded, "method": "esd", "overrides": {"batch": 2, "steps": 4, "rate": 1e-6}})


@pytest.mark.parametrize(
    ("method", "overrides", "own"),
    [
        ("esd", {"batch": 2, "steps": 4}, {"esd": 2}),
        ("esd+kd", {"batch": 4, "lower_steps": 1}, {"concept images": 0, "lower": 3, "upper": 2}),
        ("conceptprune", {}, {"conceptprune": 1}),
    ],
)
def test_second_stage_has_a_row_and_a_positive_cost(method, overrides, own, tmp_path):
    outcome = whole(tmp_path, method=method, overrides=overrides, budget="10it", alone=True)
    _, row = phases(outcome, method)
    first, *later = [(entry["phase"], entry["iterations"]) for entry in row.ledger]
    assert first[0] == "lower"
    assert dict(later) == own
    assert all(entry["flops"] > 0 for entry in row.ledger)
    assert row.cells["drift"].value > 0


def test_an_unpruned_base_is_edited_without_distillation(tmp_path):
    spent, _ = phases(whole(tmp_path, method="uce", overrides={}, pruning="none", alone=True), "uce")
    assert spent == {"uce": 1}


def test_method_for_the_unpruned_base_requires_pruning_none(tmp_path):
    file = tmp_path / "late.py"
    file.write_text(LATE)
    with pytest.raises(UsageError, match="add --pruning none"):
        whole(tmp_path / "runs", method=f"{file}:Based", overrides={})
