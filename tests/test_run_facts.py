"""Records state how they were made: command, settings, code and plug-ins; scores have the texts of prompts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest
from docs_plugins import written
from record_examples import record
from standin import ASKED, whole

from benchmark.pipeline import run_cache
from benchmark.records.plugin_code import plugin, plugins_named
from benchmark.records.provenance import OURS, code_fingerprint
from benchmark.records.record import PROVENANCE, read_scores, scores_table, write_record
from benchmark.report.find_row import find_rows
from benchmark.report.row_facts import facts_of

COMMAND = ("bench", "run", "--method", "hush.py:Hush", "--suite", "artists")


@pytest.mark.usefixtures("standin")
def test_a_run_of_a_plug_in_states_how_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = written("hush.py", tmp_path)
    home = tmp_path / "runs"
    request = {"method": f"{file}:Hush", "budget": "5it", "alone": True, "reference": "base", "overrides": {"batch": 4}}
    code = code_fingerprint()
    outcome = whole(home, **request, command=COMMAND)
    base, made = outcome.records
    assert made.label.startswith("Hush (")
    assert made.method == f"{file}:Hush"
    assert tuple(made.command) == COMMAND == tuple(base.command)
    assert made.code == base.code == code
    [entry] = made.plugins
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (entry.group, entry.name, entry.file, entry.sha256) == ("methods", "Hush", "~/hush.py", digest)
    assert base.plugins == []
    model, run = made.config["model"], made.config["run"]
    assert isinstance(model, dict)
    assert isinstance(run, dict)
    assert model["settings"]["batch"] == 4  # type: ignore[index,call-overload]
    assert model["method"] == "~/hush.py:Hush"
    assert (run["device"], run["reference"], run["suites"]) == ("cpu", "base", ["artists"])
    assert str(tmp_path) not in str([made.command, made.config, made.plugins])
    scores = read_scores(made).to_pydict()
    assert len(scores["text"]) == ASKED["artists"]
    rows = zip(scores["part"], scores["target"], scores["text"], strict=True)
    named = [target in text for part, target, text in rows if part == "targets"]
    assert named
    assert all(named)
    assert set(scores["likeliest_style"]) <= {name.split("/")[2] for name in made.cells if name.startswith("destin")}
    [row] = find_rows(made.model_id, "mini", "", home)
    facts = facts_of(row, home)
    assert facts["command"]["text"] == " ".join(COMMAND)
    assert all(listed["exists"] for listed in facts["files"]), facts["files"]
    assert {listed["what"] for listed in facts["files"]} >= {"record", "scores", "pictures", "checkpoint"}
    assert [listed["here"] for listed in facts["plugins"]] == ["unchanged"]
    file.write_text(file.read_text() + "\n# edited\n")
    assert facts_of(row, home)["plugins"][0]["here"] == "changed"
    file.unlink()
    assert facts_of(row, home)["plugins"][0]["here"] == "not found"


def test_a_fingerprint_of_code_changes_with_names_and_contents_of_python_files_only(tmp_path: Path) -> None:
    for folder in OURS:
        (tmp_path / folder).mkdir()
    (tmp_path / "methods" / "a.py").write_text("x = 1")
    first = code_fingerprint(tmp_path)
    (tmp_path / "methods" / "notes.txt").write_text("x")
    assert code_fingerprint(tmp_path) == first
    (tmp_path / "methods" / "a.py").write_text("x = 2")
    second = code_fingerprint(tmp_path)
    (tmp_path / "methods" / "a.py").rename(tmp_path / "methods" / "b.py")
    assert len({first, second, code_fingerprint(tmp_path)}) == 3


def test_plug_ins_are_stated_and_code_of_this_project_is_not(tmp_path: Path) -> None:
    table = tmp_path / "ponds.toml"
    table.write_text("name = 'ponds'")
    names = [("methods", "uce"), ("prunings", "none"), ("suites", str(table)), ("suites", str(table))]
    [entry] = plugins_named(names)
    assert (entry.name, entry.file) == ("ponds", str(table))
    assert entry.sha256 == hashlib.sha256(table.read_bytes()).hexdigest()
    assert plugin("methods", "unknown") is None


def test_how_a_record_was_made_changes_neither_its_file_name_nor_receipts(tmp_path: Path) -> None:
    made = record("uce")
    entry = {"group": "methods", "name": "A", "file": "a.py", "sha256": "0"}
    stated = record("uce", command=list(COMMAND), code="1", config={"run": {}}, plugins=[entry])
    assert stated.stem == made.stem
    assert set(PROVENANCE) == {"made", "command", "config", "code", "plugins"}
    empty = scores_table([], [], [], [], {})
    checksums = {run_cache._record_checksum(write_record(tmp_path, each, empty)) for each in (made, stated)}
    assert len(checksums) == 1


def test_scores_have_texts_and_names_and_old_ones_are_read_as_they_are(tmp_path: Path) -> None:
    table = scores_table(
        ["a", "b"], ["targets", "kept"], ["Claude Monet", ""], [1, 2], {"clip": [1.0, None]},
        texts=["a boat by Claude Monet", "a boat"], names={"likeliest_style": ["plain", None]},
    )  # fmt: skip
    stored = read_scores(write_record(tmp_path, record("uce"), table))
    assert stored.column_names == ["id", "part", "target", "text", "seed", "likeliest_style", "clip"]
    assert stored.to_pylist()[0]["text"] == "a boat by Claude Monet"
    counts = table.append_column("wrong", pa.array([1, 2], pa.int64()))
    with pytest.raises(ValueError, match="must be floats"):
        write_record(tmp_path, record("uce"), counts)
