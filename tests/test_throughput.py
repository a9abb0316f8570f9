"""A budget in hours is converted to FLOPs at a speed that is measured once and stored."""

import json

import pytest
from standin import whole

from benchmark.models import throughput

pytestmark = pytest.mark.usefixtures("standin")


def test_budget_in_time_is_measured_once_and_spent_as_flops(tmp_path, monkeypatch):
    monkeypatch.setattr(throughput, "WARM_UP", 1)
    monkeypatch.setattr(throughput, "TIMED", 2)
    asked = {"method": "distilled", "overrides": {"batch": 4}, "budget": "0.06min", "alone": True}
    record = next(r for r in whole(tmp_path, **asked).records if r.method == "distilled" and r.variant != "default")
    (kept,) = tmp_path.glob("artefacts/speed/*/speed.json")
    flops = record.budget["flops"]
    assert flops == pytest.approx(3.6 * json.loads(kept.read_text())["flops_per_second"], rel=5e-3)
    assert record.budget["default"] is False
    spent = sum(entry["flops"] for entry in record.ledger)
    assert flops - spent < spent / sum(entry["iterations"] for entry in record.ledger) <= spent <= flops
    monkeypatch.setattr(throughput, "_measure_speed", lambda *told: pytest.fail("measured again"))
    again = whole(tmp_path, **asked)
    assert record.stem in {one.stem for one in again.records}
