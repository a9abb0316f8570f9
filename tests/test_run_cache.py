"""A repeated run is answered from its receipt if nothing has changed, and never otherwise."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_records import record, scores

from benchmark.api.request import Outcome, RunRequest
from benchmark.pipeline import run_cache
from benchmark.records.record import write_record


@pytest.fixture
def asked(tmp_path: Path) -> RunRequest:
    """A request whose run has ended: two records, a picture, a receipt."""
    request = RunRequest("bilevel", "artists", overrides={"upper_rate": 1e-3}, runs=tmp_path)
    folder = tmp_path / "images" / "x"
    (folder / "artists").mkdir(parents=True)
    (folder / "artists" / "p.png").write_bytes(b"png")
    made = [
        write_record(tmp_path / "records", record(suite=suite, images="images/x/artists"), scores())
        for suite in ("artists", "coco")
    ]
    run_cache.keep(request, Outcome(made, {"images": folder}))
    return request


def test_the_same_request_gets_the_same_answer_whatever_its_device(asked):
    found = run_cache.find(replace(asked, device="cpu"))
    assert found is not None
    assert [one.suite for one in found.records] == ["artists", "coco"]
    assert found.paths == {"images": asked.runs / "images" / "x"}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"overrides": {}},
        {"targets": ("Claude Monet",)},
        {"budget": "3it"},
        {"alone": True},
        {"macs": 0.5},
        {"reference": "base"},
    ],
    ids=str,
)
def test_different_request_does_not_match_the_receipt(asked, change):
    assert run_cache.find(replace(asked, **change)) is None


@pytest.mark.parametrize("harm", ["a record changed", "scores gone", "picture gone", "link broken", "receipt damaged"])
def test_missing_or_changed_file_voids_the_receipt(asked, harm):
    (picture,) = asked.runs.rglob("*.png")
    one = sorted(asked.runs.rglob("*.record.json"))[0]
    if harm == "a record changed":
        told = json.loads(one.read_text())
        told["cells"]["clip"]["value"] = 1.0
        one.write_text(json.dumps(told))
    elif harm == "scores gone":
        next(asked.runs.rglob("*.parquet")).unlink()
    elif harm == "receipt damaged":
        next((asked.runs / "receipts").glob("*.json")).write_text("[]")
    else:
        picture.unlink()
        if harm == "link broken":
            picture.symlink_to(asked.runs / "nowhere.png")
    assert run_cache.find(asked) is None


def test_rescoring_with_equal_scores_leaves_the_receipt_valid(asked):
    write_record(
        asked.runs / "records", record(suite="coco", images="images/x/artists", made={"commit": "later"}), scores()
    )
    assert run_cache.find(asked) is not None


def test_changed_code_changed_libraries_or_several_processes_void_the_receipt(asked, monkeypatch):
    with monkeypatch.context() as changed:
        changed.setattr(run_cache, "_code_checksum", lambda: "other code")
        assert run_cache.find(asked) is None
    with monkeypatch.context() as changed:
        changed.setattr("benchmark.records.provenance.versions", lambda: {"torch": "0"})
        assert run_cache.find(asked) is None
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_cache.find(asked) is None


def test_code_checksum_covers_all_packages_and_no_tests(tmp_path, monkeypatch):
    for name in ("benchmark/a.py", "methods/b.py", "prompts/c.csv", "tests/d.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(run_cache, "ROOT", tmp_path)
    before = run_cache._code_checksum()
    (tmp_path / "tests" / "d.py").write_text("2")
    assert run_cache._code_checksum() == before
    for name in ("benchmark/a.py", "methods/b.py", "prompts/c.csv"):
        (tmp_path / name).write_text("2")
        assert run_cache._code_checksum() != before
        before = run_cache._code_checksum()


@pytest.mark.parametrize("group", ["method", "pruning"])
def test_method_or_pruning_from_a_file_is_identified_by_its_text(tmp_path, group):
    file = tmp_path / "mine.py"
    names = set()
    for text in ("one", "two"):
        file.write_text(text)
        request = RunRequest(**{"method": "distilled", "suite": "artists", group: f"{file}:mine"})
        names.add(run_cache._receipt_path(request))
    assert len(names) == 2
    assert None not in names


def test_third_party_testbed_gets_no_receipt():
    assert run_cache._receipt_path(RunRequest("bilevel", "artists", testbed="a-strangers")) is None


def test_an_answer_from_a_receipt_needs_no_torch(asked):
    code = (
        "import sys; from pathlib import Path; from benchmark.api.request import RunRequest;"
        "from benchmark.pipeline.run import run;"
        "from benchmark.console import Progress;"
        f"asked = RunRequest('bilevel', 'artists', overrides={{'upper_rate': 1e-3}}, runs=Path({str(asked.runs)!r}));"
        "assert len(run(asked, Progress()).records) == 2; sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=120).returncode == 0


def test_a_toml_suite_has_a_receipt_of_both_its_files_and_a_python_suite_none(tmp_path):
    table, prompts = tmp_path / "own.toml", tmp_path / "own.csv"
    table.write_text('name = "own"\nsummary = "my prompts"\nprompts = "own.csv"\nmetrics = ["clip"]\n')
    prompts.write_text("id,text,seed,part\na,a boat,0,kept\n")
    request = RunRequest("bilevel", str(table), runs=tmp_path)
    names = [run_cache._receipt_path(request)]
    prompts.write_text("id,text,seed,part\na,a boat,1,kept\n")
    names.append(run_cache._receipt_path(request))
    table.write_text(table.read_text().replace("my prompts", "our prompts"))
    names.append(run_cache._receipt_path(request))
    assert None not in names
    assert len(set(names)) == 3
    assert run_cache._receipt_path(replace(request, suite=f"{tmp_path / 'own.py'}:Own")) is None


def test_an_edited_metric_is_another_request(asked, tmp_path):
    metric = tmp_path / "own.py"
    source = "from benchmark.api import Column, Metric\n\n\nclass Own(Metric):\n"
    source += "    name, summary, columns = 'own', 'a metric', (Column('own', 'own'),)\n"
    source += "    def update(self, evidence, rows): ...\n"
    source += "    def compute(self): ...\n"
    metric.write_text(source)
    request = replace(asked, metrics=(f"{metric}:Own",))
    first = run_cache._receipt_path(request)
    metric.write_text(source + "# edited\n")
    assert first not in (None, run_cache._receipt_path(asked), run_cache._receipt_path(request))
