"""`bench show` leads from a row to its command, settings, code, scores, cost and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from record_examples import record, write
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.cli.end_of_run import end_of_run
from benchmark.records.provenance import code_fingerprint
from benchmark.records.record import read_records
from benchmark.report import find_row

KEY, OTHER = "4cd19acb" + "0" * 24, "77777777" + "0" * 24
COMMAND = ["bench", "run", "--method", "bilevel", "--suite", "artists", "--set", "rate=2"]
LEDGER = [{"phase": "lower", "iterations": 298, "images": 9536, "flops": 18_000_000, "wall_seconds": 145.6}]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runs folder with two methods, and committed records of one of them."""
    monkeypatch.setattr(find_row, "RESULTS", tmp_path / "results")
    facts: dict[str, Any] = {
        "model_key": KEY, "images": "images/bilevel-4cd19acb/artists", "ledger": LEDGER, "code": code_fingerprint(),
        "config": {"run": {"device": "cpu", "sampler": {"steps": 25}}, "model": {"settings": {"rate": 2.0}}},
        "made": {"time": "2026-02-01", "commit": "abc", "modified": True, "versions": {"torch": "2.11"}},
    }  # fmt: skip
    home = tmp_path / "runs"
    write(home / "records", record("bilevel", command=COMMAND, **facts))
    write(home / "records", record("bilevel", "coco", command=COMMAND, **{**facts, "images": None}))
    write(home / "records", record("uce", model_key=OTHER), record("base"), record("distilled"))
    write(tmp_path / "results" / "mini" / "records", record("bilevel"), record("esd"))
    (home / "images" / "bilevel-4cd19acb" / "artists").mkdir(parents=True)
    return home


def shown(runs: Path, *words: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["show", *words, "--runs", str(runs), "--format", "json"])
    assert result.exit_code == 0, result.output
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


def refusal(runs: Path, *words: str) -> str:
    result = CliRunner().invoke(app, ["show", *words, "--runs", str(runs)])
    assert result.exit_code == 2
    assert result.stdout == ""
    return result.stderr


def test_a_row_is_shown_with_its_command_settings_code_scores_and_cost(runs: Path) -> None:
    result = CliRunner().invoke(app, ["show", "bilevel", "--runs", str(runs)])
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for line in (
        "bilevel (own record)", "testbed mini", "suites artists, coco",
        "forgets Vincent van Gogh, Claude Monet, Pablo Picasso", "pruning magnitude, 0.8 of the base's MACs", "seed 0",
        f"bench run --method bilevel --suite artists --set rate=2 --runs {runs}",
        "commit abc, with changes that are not committed",
        f"code {code_fingerprint()[:16]}, the code that is installed here", "versions torch 2.11", "hardware cpu",
        "settings.rate 2.0", "sampler.steps 25", "artists clip 26.28 150 100 cos mini-clip-b",
        "lower 298 9,536 18,000,000 145.6",
    ):  # fmt: skip
        assert line in lines
    assert not any("rebuilt" in line for line in lines)


def test_own_records_come_before_committed_ones(runs: Path) -> None:
    assert [(row["source"], row["model"]) for row in shown(runs, "bilevel")] == [("own", KEY)]
    assert [row["source"] for row in shown(runs, "esd")] == ["committed"]


def test_an_own_row_of_a_different_suite_comes_before_a_committed_one(runs: Path) -> None:
    write(runs / "records", record("esd", "coco", model_key="9" * 32))
    assert [(row["source"], row["suites"][0]) for row in shown(runs, "esd")] == [("own", "coco")]
    assert [row["source"] for row in shown(runs, "esd", "--suite", "artists")] == ["committed"]


def test_a_committed_record_is_shown_as_such_also_by_its_file(runs: Path) -> None:
    folder = runs.parent / "results" / "mini" / "records"
    path = next(folder.glob("mini-esd-*.record.json"))
    assert [row["source"] for row in shown(runs, str(path))] == ["committed"]


def test_files_are_listed_with_whether_they_exist(runs: Path) -> None:
    [row] = shown(runs, "bilevel", "--suite", "artists")
    exists = {(file["what"], file["suite"]): file["exists"] for file in row["files"]}
    assert exists == {
        ("record", "artists"): True, ("scores", "artists"): True, ("pictures", "artists"): True,
        ("record", "coco"): True, ("scores", "coco"): True, ("contact sheet", "artists"): False,
        ("checkpoint", ""): False,
    }  # fmt: skip
    folder = runs / "artefacts" / "model" / KEY
    folder.mkdir(parents=True)
    (folder / "artefact.json").write_text("{}")
    assert shown(runs, "bilevel")[0]["files"][-1] == {
        "what": "checkpoint", "suite": "", "path": str(folder), "exists": True,
    }  # fmt: skip


def test_a_row_is_found_by_model_record_hash_and_file(runs: Path) -> None:
    path = next((runs / "records").glob("mini-bilevel-artists-*.record.json"))
    digits = path.name.split(".")[0].rpartition("-")[2]
    for name in ("4cd19a", digits, str(path)):
        assert [(row["model"], row["suites"]) for row in shown(runs, name)] == [(KEY, ["artists", "coco"])]


def test_an_ambiguous_name_is_answered_with_the_candidates(runs: Path) -> None:
    write(runs / "records", record("uce", model_key="4cd19acc" + "0" * 24, seed=1))
    message = refusal(runs, "4cd19ac")
    assert message.count("\n") == 1
    assert "stands for 3 records" in message
    assert "bilevel on artists" in message
    assert "uce (seed 1) on artists" in message
    candidate = message.split("uce (seed 1) on artists (")[1].split("): ")[1].split(";")[0].rstrip(".\n")
    assert shown(runs, candidate)[0]["label"] == "uce (seed 1)"


def test_an_unknown_row_is_refused_with_similar_labels(runs: Path) -> None:
    assert "Similar labels: bilevel" in refusal(runs, "bilvel")
    assert "does not exist" in refusal(runs, "none.record.json")


def test_the_command_of_an_old_record_is_rebuilt_and_marked(runs: Path) -> None:
    [row] = shown(runs, "esd")
    assert row["command"] == {
        "text": "bench run --method esd --suite artists",
        "stored": False,
        "remarks": [],
    }
    assert "rebuilt" in CliRunner().invoke(app, ["show", "esd", "--runs", str(runs)]).stdout


def test_a_label_that_stands_for_an_average_shows_every_row(runs: Path) -> None:
    for half in range(3):
        variant = f"kept_names=half:{half}"
        write(runs / "records", record("uce", variant=variant, label=f"uce ({variant})", model_key=f"{half}" * 32))
    labels = [row["label"] for row in shown(runs, "uce (kept_names=halves)")]
    assert labels == [f"uce (kept_names=half:{half})" for half in range(3)]
    write(runs / "records", record("uce", seed=1, model_key="8" * 32))
    assert [row["method"]["seed"] for row in shown(runs, "uce (2 seeds)")] == [0, 1]


def test_halves_of_other_targets_are_shown_and_several_sets_of_them_are_refused(runs: Path) -> None:
    def write_halves(targets: list[str], digit: str) -> None:
        for half in range(3):
            variant = f"kept_names=half:{half}"
            facts = {"variant": variant, "label": f"uce ({variant})", "model_key": f"{digit}{half}" * 16}
            write(runs / "records", record("uce", concept={"kind": "style", "targets": targets}, **facts))

    write_halves(["Henri Matisse"], "a")
    assert len(shown(runs, "uce (kept_names=halves)")) == 3
    write_halves(["Piet Mondrian"], "b")
    message = refusal(runs, "uce (kept_names=halves)")
    assert "stands for 6 records" in message
    assert "Piet Mondrian" in message


def test_the_sentence_after_a_run_names_its_files_and_a_command_that_finds_the_row(runs: Path) -> None:
    records = [r for r in read_records([runs / "records"]) if r.method == "bilevel"]
    paths = {
        "contact sheet": runs / "pictures" / "artists-bilevel-4cd19acb.png",
        "images": runs / "images" / "bilevel-4cd19acb", "records": runs / "records",
    }  # fmt: skip
    sentence = end_of_run(records, paths, None)
    assert "\n" not in sentence
    words = sentence.replace("`", " ").replace(",", " ").replace(". ", " ").split()
    assert {str(paths["images"]), str(paths["contact sheet"])} <= set(words)
    assert next(Path(word) for word in words if word.endswith(".record.json")).is_file()
    command = sentence.split("`")[1].split()
    assert command[:2] == ["bench", "show"]
    assert shown(runs, *command[2:])[0]["model"] == KEY
    assert f"--runs {runs}`" in end_of_run(records, paths, runs)
