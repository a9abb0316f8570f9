"""`bench eval --require`: the worse bound of the interval decides, and a wrong requirement costs no work."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from record_examples import record
from test_cli import answer, bench

from benchmark.errors import UsageError
from benchmark.records.record import Cell
from benchmark.stats import mean_interval, proportion_interval
from benchmark.tables.requirements import judge, junit, parse


def measured(
    value: float | None, ci: tuple[float, float] | None, metric: str = "target_style", n: int = 5, unit: str = ""
) -> list:
    n = 0 if value is None else n
    cell = Cell(value=value, n=n, of=max(n, 5), unit=unit, higher_is_better=False, back_end="x", ci=ci)
    example = record("bilevel", "artists")
    return [example.model_copy(update={"cells": {metric: cell}})]


@pytest.mark.parametrize(
    ("requirement", "value", "ci", "passes"),
    [
        ("target_style<=0.1", 0.05, (0.02, 0.09), True),
        ("target_style<=0.1", 0.05, (0.02, 0.11), False),
        ("target_style<=0.1", 0.05, None, True),
        ("target_style>=0.8", 0.85, (0.81, 0.9), True),
        ("target_style >= 0.8", 0.85, (0.79, 0.9), False),
        ("target_style<=0.1", None, None, False),
    ],
)
def test_worse_bound_of_the_interval_decides(requirement, value, ci, passes) -> None:
    [verdict] = judge(parse([requirement], ["artists"]), measured(value, ci))
    assert verdict.passed is passes


@pytest.mark.parametrize(
    ("requirement", "value", "unit", "n"),
    [
        ("cp>=99", 100.0, "%", 3),
        ("content_kept>=0.99", 1.0, "share", 2),
        ("target_style<=0.01", 0.0, "probability", 5),
        ("kept_style>=0.49", 0.5, "probability", 2),
        ("kept_style>=0.9", 0.95, "probability", 1),
        ("ua>=99", 100.0, "% of images", 5),
    ],
)
def test_few_or_equal_values_do_not_pass_a_bound_that_is_close(requirement, value, unit, n) -> None:
    [parsed] = parse([requirement], ["artists"])
    [verdict] = judge([parsed], measured(value, (value, value), parsed.column.cell, n, unit))
    assert not verdict.passed
    assert f", Wilson's, n={n}" in verdict.reason
    [with_many] = judge([parsed], measured(value, (value, value), parsed.column.cell, 10_000, unit))
    assert with_many.passed


def test_the_interval_of_a_share_is_wilsons_and_covers_the_true_mean_of_other_values() -> None:
    for count, n in ((0, 3), (3, 3), (7, 20)):
        assert mean_interval(count / n, n) == pytest.approx(proportion_interval(count, n))
    rng = np.random.default_rng(0)
    for low, high in ((0.0, 1.0), (0.2, 0.9), (0.5, 0.5)):
        means = rng.uniform(low, high, (2000, 5)).mean(axis=1)
        true_mean = (low + high) / 2
        covered = [start <= true_mean <= end for start, end in (mean_interval(float(mean), 5) for mean in means)]
        assert np.mean(covered) >= 0.95


def test_a_wider_interval_of_the_record_and_scores_without_limits_are_kept() -> None:
    [verdict] = judge(parse(["target_style<=0.9"], ["artists"]), measured(0.5, (0.0, 1.0), n=1000, unit="probability"))
    assert verdict.cell is not None
    assert verdict.cell.ci == (0.0, 1.0)
    [verdict] = judge(parse(["clip<=90"], ["artists"]), measured(80.0, (79.0, 81.0), "clip", unit="100·cos"))
    assert verdict.cell is not None
    assert verdict.cell.ci == (79.0, 81.0)
    assert verdict.reason == "80.00 (95 % interval 79.00 to 81.00, as in tables, n=5)"


def test_score_that_was_not_measured_fails() -> None:
    [verdict] = judge(parse(["kept_style>=0"], ["artists"]), measured(0.1, None))
    assert str(verdict) == "FAIL  kept_style >= 0: it was not measured"


def test_junit_has_one_case_per_requirement() -> None:
    verdicts = judge(parse(["target_style<=0.1", "target_style<=0.01"], ["artists"]), measured(0.05, (0.02, 0.09)))
    suite = ET.fromstring(junit(verdicts, "my <model>").partition("\n")[2])
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suite] == ["target_style <= 0.1", "target_style <= 0.01"]
    assert [case.find("failure") is not None for case in suite] == [False, True]


@pytest.mark.parametrize("text", ["target_style", "target_style<0.1", "target_style<=x", "target_style<=nan", "<=1"])
def test_requirement_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not of the form"):
        parse([text], ["artists"])


def test_column_that_is_unknown_or_not_run_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no column 'nothing': There are"):
        parse(["nothing<=1"], ["artists"])
    with pytest.raises(UsageError, match="is of suite 'coco', which is not run here"):
        parse(["fid<=1"], ["artists"])


@pytest.mark.parametrize("name", ["target style", "Target Style", "target_stile"])
def test_a_heading_or_a_misspelt_column_is_refused_with_the_name_of_the_column(name: str) -> None:
    with pytest.raises(UsageError, match=rf"there is no column '{name}': did you mean 'target_style'\?"):
        parse([f"{name}<=1"], ["artists"])


@pytest.mark.usefixtures("standin")
def test_gate_fails_with_exit_code_1_and_keeps_the_record(tmp_path: Path) -> None:
    runs = ["--runs", str(tmp_path), "--device", "cpu", "--alone", "--reference", "base", "--suite", "artists"]
    exported = bench("export", "base", str(tmp_path / "model"))
    assert exported.exit_code == 0, exported.output
    report = tmp_path / "report.xml"
    gate = ["--require", "kept_style>=0", "--require", "target_style<=-1", "--junit", str(report)]
    words = ["eval", "--checkpoint", str(tmp_path / "model"), "--name", "mine", *runs, *gate]
    assert "there is no column" in answer(bench(*words, "--require", "x<=1"))
    result = bench(*words)
    assert result.exit_code == 1, result.output
    assert "pass  kept_style >= 0: " in result.stdout
    assert "FAIL  target_style <= -1: " in result.stdout
    assert 'failures="1"' in report.read_text()
    assert list((tmp_path / "records").glob("*mine*.record.json"))
    assert bench(*words[:-6], "--require", "kept_style>=0").exit_code == 0
