"""Tables on terminals of any width: values are never truncated, and a width of 0 means the default width."""

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
    assert boxed == (width >= 67)
    if not boxed:
        assert "● base\n  CLIP ↓  85.57 ±0.83 n=150\n  CP ↑  14.00 ±5.67 n=150\n" in text


@pytest.mark.parametrize("width", [1, 40, 76])
def test_comparison_values_are_never_truncated(width: int, monkeypatch) -> None:
    text = printed(COMPARE, width, monkeypatch)
    assert "…" not in text
    assert "-5.56 to +0.25" in text
    assert ("────" in text) == (width >= 76)
    if width < 76:
        assert "CLIP ↓\n  bilevel 51.94\n  esd 54.59\n  difference -2.66\n" in text


def test_table_part_that_does_not_fit_becomes_a_list(monkeypatch) -> None:
    text = printed([*TABLE, "--long"], 80, monkeypatch)
    assert "────" in text
    assert "\n  target style" in text
    assert "kept style" in printed([*TABLE, "--long", "--paper"], 20, monkeypatch)


def test_console_width_follows_columns_variable(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert console_on(stderr=True).width == WIDTH
    monkeypatch.setenv("COLUMNS", "100")
    assert console_on().width == 100
