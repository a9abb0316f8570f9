"""`bench table --method A,B` and `--mine` select rows; references of the other rows remain in use."""

import json
from pathlib import Path

import pytest
from record_examples import record
from test_cli import answer, bench

from benchmark.errors import DataError, UsageError
from benchmark.tables.row_choice import RowChoice
from benchmark.tables.table1_styles import table

RECORDS = ["--records", str(Path(__file__).parents[1] / "results" / "mini" / "records")]


def rows(*words: str) -> list[dict]:
    result = bench("table", *words, *RECORDS, "--format", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["rows"]


@pytest.mark.parametrize("words", [[], ["--over-seeds"], ["--pruning", "all"], ["2"], ["3"]], ids=str)
def test_rows_of_the_methods_are_shown_with_unchanged_values(words: list[str]) -> None:
    every_row = rows(*words)
    chosen = rows(*words, "--method", "bilevel, esd")
    assert {row["method"] for row in chosen} == {"bilevel", "esd"}
    assert chosen == [row for row in every_row if row["method"] in ("bilevel", "esd")]


def test_unknown_method_is_refused_with_close_names() -> None:
    for number in "123":
        sentence = answer(bench("table", number, *RECORDS, "--method", "bilevl"))
        assert "Unknown method of this table 'bilevl'. Did you mean 'bilevel'?" in sentence
    assert "empty name" in answer(bench("table", *RECORDS, "--method", "esd,"))
    assert "names 'esd' twice" in answer(bench("table", *RECORDS, "--method", "esd,esd"))


def test_own_runs_are_those_that_are_not_only_committed() -> None:
    found = [(record("base"), "reference"), (record("esd"), "local"), (record("bilevel"), "both")]
    shown = table(found, "mini", "artists", choice=RowChoice(mine=True))  # type: ignore[arg-type]
    assert [row.label for row in shown.rows] == ["esd", "bilevel"]
    one = table(found, "mini", "artists", choice=RowChoice(("esd",), mine=True))  # type: ignore[arg-type]
    assert [row.label for row in one.rows] == ["esd"]


def test_without_own_runs_a_sentence_says_how_to_create_one() -> None:
    sentence = answer(bench("table", *RECORDS, "--mine", "--method", "esd"))
    assert "No row of esd in this table is a run of yours: create one with `bench run --method esd`" in sentence
    assert "--runs" in sentence
    with pytest.raises(DataError, match="bench run --method bilevel"):
        table([(record("base"), "reference")], "mini", "artists", choice=RowChoice(("base",), mine=True))


def test_notes_and_quotes_are_of_the_chosen_rows_only() -> None:
    hidden = [record("esd", budget={"flops": 2e15, "default": False}), record("bilevel", macs=0.55)]
    found = [(each, "local") for each in (record("esd"), record("bilevel"), *hidden)]
    shown = table(found, "mini", "artists", paper=True, choice=RowChoice(("esd",)))  # type: ignore[arg-type]
    assert any(note.startswith("1 more record has") for note in shown.notes)
    assert shown.paper_only == {}
    with pytest.raises(UsageError, match="Unknown method"):
        table(found, "mini", "artists", choice=RowChoice(("uce",)))  # type: ignore[arg-type]
