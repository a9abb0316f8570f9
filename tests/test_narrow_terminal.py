"""Tables on terminals of any width: values are never truncated, and a width of 0 means the default width."""

import json
from pathlib import Path

import pytest
from test_cli import bench

from benchmark.console import WIDTH, console_on

RECORDS = str(Path(__file__).parents[1] / "results" / "mini" / "records")
TABLE = ["table", "--records", RECORDS]
COMPARE = ["compare", "bilevel", "esd", "--records", RECORDS]


def printed(words: list[str], width: int | str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    result = bench(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("words", [TABLE, COMPARE], ids=["table", "compare"])
@pytest.mark.parametrize("none", ["0", "000"])
def test_zero_width_means_eighty_columns(words: list[str], none: str, monkeypatch) -> None:
    assert printed(words, none, monkeypatch) == printed(words, 80, monkeypatch) != ""


@pytest.mark.parametrize("width", [1, 20, 40, 66, 67, 80])
def test_table_values_are_never_truncated(width: int, monkeypatch) -> None:
    text = printed(TABLE, width, monkeypatch)
    assert "…" not in text
    for figure in ("85.57", "±0.83", "n=150", "100.00", "n=1000"):
        assert figure in text
    boxed = "────" in text
    assert boxed == (width >= 40)
    if not boxed:
        assert "● base\n  CLIP ↓  85.57 ±0.83 n=150\n  CP ↑  14.00 ±5.67 n=150\n" in text


@pytest.mark.parametrize("width", [1, 40, 60, 76])
def test_comparison_values_are_never_truncated(width: int, monkeypatch) -> None:
    text = printed(COMPARE, width, monkeypatch)
    assert "…" not in text
    assert "-5.56 to +0.25" in text
    assert text.count("CLIP ↓") == {1: 1, 40: 4, 60: 2, 76: 1}[width]
    assert ("────" in text) == (width >= 40)
    if width == 1:
        assert "CLIP ↓\n  bilevel 51.94\n  esd 54.59\n  difference -2.66\n" in text
    else:
        assert max(map(len, text.splitlines())) <= width


def test_notes_below_a_comparison_take_at_most_three_lines(monkeypatch) -> None:
    text = printed(COMPARE, 80, monkeypatch)
    notes = text[text.index("10 pairs of runs") :].splitlines()
    assert len(notes) <= 3
    assert "more notes: --long." in notes[-1]
    assert "Pairs of runs: Claude Monet" in printed([*COMPARE, "--long"], 80, monkeypatch)


LONG = [*TABLE, "--long", "--method", "base,esd,bilevel"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_columns_are_shown_in_groups_one_below_the_other(width: int, monkeypatch) -> None:
    """All values of all columns are shown, each group has all labels, and no line is wider than the terminal."""
    text = printed(LONG, width, monkeypatch)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    groups = text.count("────\n") + text.count("──── \n")
    assert groups == text.count("● base") > 5
    rows = json.loads(bench(*LONG, "--format", "json").stdout)["rows"]
    for cell in (
        cell for row in rows for key, cell in row["cells"].items() if key in ("target_style", "neighbour_style")
    ):
        half = (cell["ci"][1] - cell["ci"][0]) / 2
        assert f"{cell['value']:.3f}" in text
        assert f"±{half:.3f}" in text
    assert "Preservation" in text
    assert "n=56/60" in text
    assert "Pablo Picasso →" in text


def test_groups_need_fewer_lines_than_a_list(monkeypatch) -> None:
    assert len(printed(LONG, 80, monkeypatch).splitlines()) < len(printed(LONG, 20, monkeypatch).splitlines()) / 2


def test_count_that_differs_from_the_header_is_shown_in_its_cell(monkeypatch) -> None:
    text = printed([*TABLE, "--columns", "target_style", "--method", "base,esd", "--over-seeds"], 80, monkeypatch)
    assert text.count("n=150") + text.count("n=600") == 2


def test_table_on_a_very_narrow_terminal_is_a_list(monkeypatch) -> None:
    text = printed(LONG, 20, monkeypatch)
    assert "────" not in text
    assert "\n  kept style ↑  0." in text


def test_console_width_follows_columns_variable(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert console_on(stderr=True).width == WIDTH
    monkeypatch.setenv("COLUMNS", "100")
    assert console_on().width == 100
