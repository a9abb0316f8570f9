"""Figures, tables and studies refuse options that they cannot draw or would ignore, and name what they support."""

from pathlib import Path

import pytest
from test_cli import answer, bench

RESULTS = Path(__file__).parents[1] / "results" / "mini"


@pytest.mark.parametrize("suite", ["artists", "coco"])
def test_figure_7_refuses_other_suites_and_names_its_own(suite: str, tmp_path: Path) -> None:
    complaint = answer(bench("figure", "7", "--suite", suite, "--out", str(tmp_path / "7.png")))
    assert "Figure 7 shows suite i2p, mma or ring-a-bell: " in complaint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suite", ["coco", "i2p", "mma", "ring-a-bell"])
def test_tradeoff_figure_refuses_suites_other_than_artists(suite: str) -> None:
    assert f"Figure tradeoff shows suite artists: --suite {suite} has no target styles" in answer(
        bench("figure", "tradeoff", "--suite", suite)
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--only-figure", "--lanes", "2"], "--lanes has no effect here: --only-figure runs nothing"),
        (["--format", "markdown", "--lanes", "2"], "--lanes has no effect here"),
        (["--format", "markdown", "--out", "x"], "--out has no effect here"),
        (["--records", str(RESULTS / "studies")], "add --only-figure or --format markdown, or leave out --records."),
    ],
)
def test_study_refuses_options_that_it_would_ignore(words: list[str], sentence: str, monkeypatch) -> None:
    monkeypatch.setattr("benchmark.experiments.campaign.conduct", lambda *_: pytest.fail("it has begun"))
    assert sentence in answer(bench("study", "init", *words))


def test_study_without_data_to_draw_writes_nothing(tmp_path: Path) -> None:
    words = ["study", "init", "--only-figure", "--records", str(RESULTS / "records"), "--out", str(tmp_path / "out")]
    assert "leave out --only-figure" in answer(bench(*words))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["table"], ["table", "2"], ["compare", "bilevel", "esd"]], ids=" ".join)
def test_limit_without_records_names_the_run_that_creates_them(words: list[str]) -> None:
    assert "add --limit 3 to a `bench run`, or leave it out here" in answer(bench(*words, "--limit", "3"))
    assert "at least 1; 0 is not." in answer(bench(*words, "--limit", "0"))
