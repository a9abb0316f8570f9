"""`bench run --reference base` trains only the method; the training of a reference is announced."""

from pathlib import Path

import pytest
from standin import whole

from benchmark.api.request import RunRequest
from benchmark.cost.devices import named
from benchmark.cost.estimate import Speeds, estimate
from benchmark.errors import UsageError
from benchmark.records.record import read_records

pytestmark = pytest.mark.usefixtures("standin")


def labels(home: Path, suite: str) -> dict[str, tuple[str, float | None]]:
    """Label of each record of a suite -> its reference, and its CP."""
    found = [one for one in read_records([home / "records"]) if one.suite == suite]
    return {one.label: (one.reference, one.cells["cp"].value if "cp" in one.cells else None) for one in found}


def test_base_as_reference_trains_the_method_alone(tmp_path, capsys) -> None:
    outcome = whole(tmp_path, reference="base", alone=True)
    assert {one.method for one in outcome.records} == {"base", "bilevel"}
    found = labels(tmp_path, "artists")
    assert {label.partition(" ")[0]: reference for label, (reference, _) in found.items()} == {
        "base": "base",
        "bilevel": "base",
    }
    assert found["base"] == ("base", 0.0)  # compared with itself
    assert len(list((tmp_path / "artefacts" / "model").iterdir())) == 1
    assert "reference" not in capsys.readouterr().err
    whole(tmp_path, alone=True)  # with the distilled model: its records stand beside, in the place of none
    said = capsys.readouterr().err
    assert "reference distilled is trained with the full budget: scores of artists are relative to it" in said
    assert "with --reference base, only bilevel is trained" in said
    both = [one for one in read_records([tmp_path / "records"]) if one.method == "bilevel"]
    assert sorted(one.reference for one in both) == ["base", "distilled"]
    assert both[0].cells["clip"].value == both[1].cells["clip"].value  # one model, trained once
    assert len(list((tmp_path / "artefacts" / "model").iterdir())) == 2


def test_reference_that_no_figure_needs_is_announced_when_it_is_trained(tmp_path, capsys) -> None:
    whole(tmp_path, suite="coco", alone=True)
    assert "no score is relative to it; with --reference base" in capsys.readouterr().err
    whole(tmp_path, suite="coco", alone=True)
    assert "trained with the full budget" not in capsys.readouterr().err


def test_a_distilled_model_is_compared_with_the_base(tmp_path) -> None:
    outcome = whole(tmp_path, method="distilled", overrides={"batch": 4}, reference="base", suite="coco")
    assert [one.method for one in outcome.records] == ["base", "distilled"]


def test_an_unknown_reference_is_refused() -> None:
    with pytest.raises(UsageError, match="--reference must be distilled or base; 'bas' is not"):
        RunRequest("bilevel", "artists", reference="bas")


@pytest.mark.parametrize(
    ("method", "trained"),
    [("bilevel", ["train bilevel", "train bilevel: upper"]), ("esd", ["train distilled", "train esd"]),
     ("distilled", ["train distilled"])],
)  # fmt: skip
def test_an_estimate_leaves_the_reference_out_as_the_run_does(method, trained) -> None:
    speeds = Speeds.of_device(named("H100"))
    usual, alone = (estimate(RunRequest(method, "artists", reference=each), speeds) for each in ("distilled", "base"))
    assert [row.piece.what for row in alone.rows if row.piece.what.startswith("train ")] == trained
    if method == "distilled":  # it is its own reference
        assert alone.hours == usual.hours
    else:
        assert alone.hours < 0.8 * usual.hours
    sampled = next(row.piece.count for row in alone.rows if row.piece.what == "sample coco")
    assert sampled == 2000  # the base and the method, 1,000 captions each
