"""The minimum budget is reported before a run begins, and it is the least with which every stage takes a step."""

from pathlib import Path

import pytest
from standin import request

from benchmark.console import Progress
from benchmark.errors import BudgetError
from benchmark.models import minimum_budget
from benchmark.models.fitted import Fitted
from benchmark.models.plan import plan_of
from benchmark.pipeline.run import run
from benchmark.pipeline.setup import workbench_for

pytestmark = pytest.mark.usefixtures("standin")

METHODS = {
    "distilled": ({"batch": 4}, ["lower"]),
    "bilevel": ({"batch": 4, "lower_steps": 1}, ["concept images", "lower"]),
    "esd": ({"batch": 2, "steps": 4}, ["lower", "esd"]),
    "esd+kd": ({"batch": 4, "lower_steps": 1}, ["lower", "concept images", "lower"]),
    "conceptprune": ({}, ["lower", "conceptprune"]),
    "uce": ({}, ["lower", "uce"]),
}


def ledger_of(home: Path, method: str, overrides: dict, budget: str, checked: bool = True) -> list[dict]:
    """The ledger of a fit."""
    asked = request(home, method=method, overrides=overrides, budget=budget)
    bench = workbench_for(asked.runtime, home, Progress())
    plan = plan_of(bench, asked, bench.testbed.concept(()))
    if checked:
        minimum_budget.check(bench, plan)
    return Fitted(bench, plan).ledger()


@pytest.mark.parametrize("method", METHODS)
def test_reported_minimum_budget_is_sufficient_and_tight(method: str, tmp_path: Path) -> None:
    overrides, phases = METHODS[method]
    with pytest.raises(BudgetError, match=rf"one step of each stage of '{method.replace('+', '.')}'") as refusal:
        run(request(tmp_path, method=method, overrides=overrides, budget="1e6"), Progress())
    assert not list(tmp_path.glob("artefacts/*/*"))
    said = float(str(refusal.value).split("give at least ")[1].rstrip("."))
    spent = ledger_of(tmp_path, method, overrides, f"{said:.6g}")
    assert [entry["phase"] for entry in spent][: len(phases)] == phases
    assert all(entry["iterations"] for entry in spent if entry["phase"] != "concept images")
    with pytest.raises(BudgetError):  # which the training itself finds
        ledger_of(tmp_path, method, overrides, f"{0.8 * said:.6g}", checked=False)


def test_iterations_too_few_for_the_second_stage_are_refused_before_the_first(tmp_path: Path) -> None:
    esd = METHODS["esd"][0]
    with pytest.raises(BudgetError, match="give at least 3it") as refusal:
        run(request(tmp_path, method="esd", overrides=esd, budget="2it"), Progress())
    assert "leaves none to 'esd'" in str(refusal.value)
    assert not list(tmp_path.glob("artefacts/*/*"))
    assert [entry["iterations"] for entry in ledger_of(tmp_path, "esd", esd, "3it")] == [2, 1]
    assert [entry["iterations"] for entry in ledger_of(tmp_path, "uce", {}, "1it")] == [1, 1]
