"""Losses along a training: thinned without losing their place or their mean."""

import pytest

from benchmark.records.loss_curve import thinned


def test_thinning_keeps_the_mean_and_the_last_point() -> None:
    curve = []
    for k in range(1, 251):
        curve.append({"phase": "lower", "iteration": 20 * k, "flops": 100 * k, "loss": float(k)})
        curve.append({"phase": "upper", "iteration": k, "flops": 100 * k + 1, "loss": -float(k), "unlearning": 0.5})
    kept = thinned(curve, 50)
    lower, upper = ([row for row in kept if row["phase"] == name] for name in ("lower", "upper"))
    assert len(lower) == len(upper) == 50
    assert (lower[-1]["iteration"], lower[-1]["flops"]) == (5000, 25000)
    assert lower[0]["loss"] == pytest.approx(3)
    assert sum(row["loss"] for row in lower) / 50 == pytest.approx(sum(range(1, 251)) / 250)
    assert upper[7]["unlearning"] == 0.5
    assert kept == sorted(kept, key=lambda row: row["flops"])
    assert thinned(curve[:6]) == curve[:6]
    assert thinned([]) == []
