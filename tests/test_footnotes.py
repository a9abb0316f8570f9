"""Notes below a table on a terminal: at most three lines, the most important first; other formats have all of them."""

import textwrap
from pathlib import Path

import pytest
from test_cli import bench

from benchmark.tables.footnotes import Note, footnotes

RECORDS = ["--records", str(Path(__file__).parents[1] / "results" / "mini" / "records")]
LEGEND = "● committed run; n: images scored."


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "words",
    [[], ["2"], ["2", "--paper"], ["3"], ["--paper"], ["--over-seeds"], ["--pruning", "all"], ["--all", "--paper"]],
    ids=str,
)
def test_notes_below_a_table_take_at_most_three_lines(words: list[str], width: int, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    result = bench("table", *words, *RECORDS)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    (start,) = (k for k, line in enumerate(lines) if line.startswith("● committed run;"))
    assert 1 <= len(lines[start:]) <= 3
    assert "±: half of a 95 % interval" in lines[start]


def test_notes_without_which_values_are_misread_come_first() -> None:
    notes = [Note("hidden " * 9, rank=2), "plain " * 9, Note("wrong " * 9, rank=0)]
    (_, paragraph) = footnotes(LEGEND, notes, 80, "--long")
    assert paragraph.startswith("wrong")
    assert paragraph.endswith("1 more note: --long.")
    assert "plain" in paragraph
    assert "hidden" not in paragraph


def test_all_notes_are_shown_in_their_short_form_if_they_fit() -> None:
    assert footnotes(LEGEND, [Note("a long sentence", "short."), "plain."], 80, "--long") == [LEGEND, "short. plain."]
    assert footnotes(LEGEND, [], 80, "--long") == [LEGEND]


def test_narrow_terminal_has_the_notes_of_one_with_80_columns() -> None:
    notes = [f"Note {k} has a few words." for k in range(20)]
    assert footnotes(LEGEND, notes, 40, "--long") == footnotes(LEGEND, notes, 80, "--long")
    assert len(textwrap.wrap(footnotes(LEGEND, notes, 80, "--long")[1], 80)) <= 2


def test_other_formats_and_long_tables_have_all_notes_in_full() -> None:
    sentence = (
        "46 more records have a different budget, pruning, precision, method version or targets: --all shows them."
    )
    assert sentence in bench("table", *RECORDS, "--format", "markdown").stdout
    assert sentence in bench("table", *RECORDS, "--format", "json").stdout
    long = " ".join(bench("table", "--long", *RECORDS).stdout.split())
    assert sentence in long
