"""Records have a description for each field, are replaced as a whole, and are refused when damaged."""

import json
import os
import re
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
from faults import FULL, fault_at, outcome
from pydantic import ValidationError

from benchmark.errors import RecordError, StoreError
from benchmark.records import provenance
from benchmark.records.record import (
    Cell,
    Record,
    check_one_sampler,
    read_records,
    read_scores,
    scores_table,
    write_record,
)

CELL = {"value": 31.5, "n": 150, "of": 150, "unit": "100 cos", "higher_is_better": False, "back_end": "mini-clip-b"}
FACTS = {
    "label": "bilevel",
    "testbed": "mini",
    "pruning": "magnitude",
    "macs": 0.8,
    "method": "bilevel",
    "concept": {"kind": "style", "targets": ["Claude Monet"], "anchor": "art", "neighbours": []},
    "data": "plain",
    "budget": {"flops": 1e15},
    "suite": "artists",
    "seed": 0,
    "recipe": 1,
    "sampler": {"scheduler": "pndm", "steps": 25, "guidance": 4.0},
    "reference": "distilled",
    "cells": {"clip": CELL},
    "ledger": [{"phase": "lower", "flops": 12}],
    "made": {"commit": None},
}


def record(**changes) -> Record:
    return Record.model_validate({**FACTS, **changes})


def scores(value: float = 1.0) -> pa.Table:
    return scores_table(["a", "b"], ["targets"] * 2, ["Claude Monet"] * 2, [1, 2**63 - 1], {"clip": [value, None]})


def test_record_is_read_as_it_was_written(tmp_path):
    written = write_record(tmp_path / "records", record(solver="alternating", images="images/x"), scores())
    (read,) = read_records([tmp_path / "records", tmp_path / "absent"])
    assert read == written
    assert read.folder == tmp_path / "records"
    assert read.cells["clip"] == Cell(**CELL)
    assert read_scores(read) == scores()
    assert read.scores.rows == 2


def test_every_field_has_a_description():
    for model in (Record, Cell):
        for name, field in model.model_fields.items():
            assert field.description, name


def test_scoring_again_replaces_the_record_and_its_scores(tmp_path):
    write_record(tmp_path, record(), scores(1.0))
    write_record(tmp_path, record(cells={}, made={"commit": "abc"}, label="renamed"), scores(2.0))
    assert len(list(tmp_path.iterdir())) == 2
    (read,) = read_records([tmp_path])
    assert read.label == "renamed"
    assert read_scores(read)["clip"][0].as_py() == 2.0


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1}, {"macs": 0.55}, {"method": "distilled"}, {"variant": "attn2"}, {"preset": "paper"},
        {"solver": "penalty"}, {"suite": "coco"}, {"budget": {"iterations": 10}}, {"data": "all"}, {"recipe": 2},
        {"pruning": "none"}, {"reference": "base"}, {"testbed": "sd21"}, {"sampler": {"steps": 50}},
        {"concept": {"kind": "style", "targets": ["Pablo Picasso"]}},
    ],
)  # fmt: skip
def test_another_run_never_replaces_this_one(changes):
    assert record(**changes).stem != record().stem


def test_a_method_from_a_file_gives_a_plain_file_name():
    assert re.fullmatch(r"[\w.-]+", record(method="../my dir/eraser.py:Eraser").stem)


def test_a_fault_at_any_stage_leaves_the_old_record_or_the_new_with_its_own_scores(tmp_path, monkeypatch):
    write_record(tmp_path, record(), scores(0.0))
    old = 0.0
    for count in range(1, 40):
        new = float(count)
        with monkeypatch.context() as patch:
            calls = fault_at(count, FULL, patch)
            met = outcome(lambda new=new: write_record(tmp_path, record(), scores(new)), StoreError)
        assert met is None or "The disk is full" in str(met)
        (read,) = read_records([tmp_path])
        assert read_scores(read)["clip"][0].as_py() in (old, new)
        old = read_scores(read)["clip"][0].as_py()
        if len(calls) < count:
            break
    assert old == new
    assert count > 8


def test_record_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "new.record.json"
    path.write_text(json.dumps({"schema_version": 5, "something": "else"}))
    with pytest.raises(RecordError) as caught:
        read_records([tmp_path])
    assert str(caught.value) == (
        f"The record {path} was written by a newer palimpsest (schema 5, this one reads 4): "
        "update palimpsest or move the file away."
    )


@pytest.mark.parametrize("text", ["", "{", '{"label": "x"}', "[]", "null", '{"label": NaN}', "\x00\xff"])
def test_damaged_record_gives_one_sentence_that_names_the_file(tmp_path, text):
    path = tmp_path / "bad.record.json"
    path.write_text(text)
    with pytest.raises(
        RecordError, match=rf"^The record {re.escape(str(path))} is damaged \([^\n]*\): move it away[^\n]*\.$"
    ):
        read_records([tmp_path])


def test_folder_in_place_of_a_record_gives_one_sentence_that_names_it(tmp_path):
    path = tmp_path / "folder.record.json"
    path.mkdir()
    with pytest.raises(RecordError, match=rf"^The record {re.escape(str(path))} is a folder: move it away\.$"):
        read_records([tmp_path])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"budget": {"flops": "many", "default": False}}, "budget: flops is not a number"),
        ({"concept": {"kind": "style", "targets": 7}}, "targets is not a list"),
        ({"ledger": [{"phase": "lower", "flops": "many"}]}, "ledger: flops is not a number"),
        ({"curve": [{"phase": "lower", "iteration": 1, "flops": "x"}]}, "curve: flops is not a number"),
        ({"curve": [{"phase": "lower", "loss": 1.0}]}, "a row lacks its phase, iteration or flops"),
    ],
)
def test_record_edited_to_a_wrong_type_is_refused_as_damaged(tmp_path, changed, told):
    write_record(tmp_path, record(), scores())
    (path,) = tmp_path.glob("*.record.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(RecordError, match=f"is damaged .*{told}"):
        read_records([tmp_path])


def test_an_unknown_field_is_refused_and_not_dropped(tmp_path):
    write_record(tmp_path, record(), scores())
    (path,) = tmp_path.glob("*.record.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "surprise": 1}))
    with pytest.raises(RecordError, match="surprise"):
        read_records([tmp_path])


@pytest.mark.parametrize("harm", [os.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_missing_or_changed_scores_are_refused(tmp_path, harm):
    write_record(tmp_path, record(), scores())
    harm(next(tmp_path.glob("*.parquet")))
    (read,) = read_records([tmp_path])
    with pytest.raises(RecordError, match=r"^The scores .* (cannot be read|do not match).*`bench run` again"):
        read_scores(read)


@pytest.mark.parametrize(
    "changes",
    [{"n": 151}, {"n": 0}, {"value": None}, {"value": float("nan")}, {"of": -1}, {"surprise": 1}],
)
def test_inconsistent_cell_is_refused(changes):
    with pytest.raises(ValidationError):
        Cell(**{**CELL, **changes})
    assert Cell(**{**CELL, "value": None, "n": 0}).of == 150


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (scores().append_column("prompt", pa.array(["x", "y"])), "'prompt' has type string"),
        (scores().append_column("count", pa.array([1, 2])), "'count' has type int64"),
        (scores().drop_columns(["seed"]), "no int64 column 'seed'"),
        (scores().set_column(0, "id", pa.array([1, 2])), "no string column 'id'"),
    ],
)
def test_scores_with_prompt_texts_or_wrong_columns_are_refused(tmp_path, table, message):
    with pytest.raises(ValueError, match=message):
        write_record(tmp_path, record(), table)
    assert not list(tmp_path.iterdir())


def test_scores_columns_of_different_lengths_are_refused():
    with pytest.raises(pa.ArrowInvalid):
        scores_table(["a", "b"], ["x"] * 2, [""] * 2, [1, 2], {"clip": [1.0]})


def test_records_of_one_suite_sampled_differently_are_not_compared():
    same = [record(), record(method="distilled"), record(suite="coco", sampler={"steps": 50})]
    check_one_sampler(same)
    with pytest.raises(RecordError, match=r"of suite 'artists' were sampled with different eta, guidance, steps: "):
        check_one_sampler([*same, record(sampler={"scheduler": "pndm", "steps": 50, "eta": 0})])


def test_file_in_place_of_the_records_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is not a folder"):
        write_record(tmp_path / "file", record(), scores())


# provenance


def test_provenance_names_versions_and_no_host_or_path(monkeypatch):
    made = provenance.collect()
    assert json.loads(json.dumps(made)) == made
    assert {"torch", "diffusers", "transformers", "palimpsest"} <= set(made["versions"])
    text = json.dumps(made)
    assert os.uname().nodename not in text
    assert "/" not in text.replace("+00:00", "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", made["time"])


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *names, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_provenance_names_the_commit_and_whether_files_changed(tmp_path):
    assert provenance._commit(tmp_path) == (None, None)
    git(tmp_path, "init")
    assert provenance._commit(tmp_path) == (None, None)
    (tmp_path / "f").write_text("1")
    git(tmp_path, "add", "f")
    git(tmp_path, "commit", "-m", "x")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert provenance._commit(tmp_path) == (commit, False)
    (tmp_path / "f").write_text("2")
    assert provenance._commit(tmp_path) == (commit, True)
    (tmp_path / "inner").mkdir()
    assert provenance._commit(tmp_path / "inner") == (None, None)  # another project's repository


def test_provenance_works_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.collect()["commit"] is None
