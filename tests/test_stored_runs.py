"""`bench list runs` and `bench clean RUN`: what a runs folder contains, and what of it is deleted."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from test_cli import bench
from test_records import record, scores

from benchmark.cli.clean import Kind
from benchmark.cli.list_runs import age
from benchmark.console import Progress
from benchmark.errors import UsageError
from benchmark.records.clean_choice import Choice, parse_age
from benchmark.records.record import write_record
from benchmark.records.removable import select
from benchmark.records.stored_runs import KINDS, read_inventory
from benchmark.store import claims
from benchmark.store.artefacts import Store, key_of
from benchmark.store.checkpoints import write_label

NET = {"testbed": "mini", "pruning": "magnitude", "macs": 0.8}
PLAIN: dict[str, Any] = {**NET, "method": "distilled", "seed": 0}
ERASED: dict[str, Any] = {**NET, "method": "bilevel", "seed": 1, "start": key_of("model", PLAIN)}
BASE: dict[str, Any] = {"testbed": "mini", "model": "base"}
DAY = 86400


def put(store: Store, kind: str, identity: dict[str, Any], size: int = 1000) -> Path:
    """Store an artefact of this size, and return its folder."""
    with store.make(kind, identity) as folder:
        (folder / ("00.png" if "images" in kind else "file.bin")).write_bytes(b"x" * size)
    return store.get(kind, identity).folder


def put_pictures(store: Store, model: dict[str, Any], kind: str = "images") -> list[Path]:
    """Store a shard of pictures of a model and its features."""
    shard = {"model": key_of("model", model), "prompts": [["a boat", 1]]}
    features = {"images": [key_of(kind, shard)], "encoders": {}}
    return [put(store, kind, shard), put(store, "features", features)]


def put_record(home: Path, label: str, model: dict[str, Any], reference: dict[str, Any], **changes: Any) -> None:
    write_record(
        home / "records",
        record(
            label=label, model_key=key_of("model", model), reference_key=key_of("model", reference), **changes
        ),
        scores(),
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A base with pictures, distilled, bilevel which starts from it, and an unfinished training."""
    store = Store(tmp_path)
    put(store, "pruned", NET)
    put(store, "latents", {"testbed": "mini", "set": "D_f"})
    put_pictures(store, BASE)
    for model in (PLAIN, ERASED):
        put(store, "model", model, 5000)
        put(store, "cost", model)
        put_pictures(store, model)
    put_record(tmp_path, "base", BASE, PLAIN, method="base")
    put_record(tmp_path, "distilled", PLAIN, PLAIN, method="distilled")
    put_record(tmp_path, "bilevel (seed 1)", ERASED, PLAIN, method="bilevel", seed=1)
    folder = store.scratch("model", {**NET, "method": "esd"})
    write_label(folder, "esd")
    (folder / "checkpoint-000003").mkdir()
    (folder / "checkpoint-000003" / "meta.json").write_text('{"step": 40}')
    return tmp_path


def names(folder: Path) -> set[str]:
    return {f"{path.parent.name}/{path.name}" for path in folder.glob("artefacts/*/*")}


def run_of(home: Path, label: str) -> Any:
    [run] = [run for run in read_inventory(home).runs if run.label == label]
    return run


def test_listing_has_a_line_per_run_and_per_kind_of_stage(home: Path) -> None:
    result = bench("list", "runs", "--runs", home)
    assert result.exit_code == 0
    text = result.stdout
    assert key_of("model", ERASED)[:8] in text
    assert "needed by 1 other run" in next(line for line in text.splitlines() if "distilled" in line)
    assert "unfinished training, resumes after step 40" in next(line for line in text.splitlines() if " esd " in line)
    assert "pruned networks (1)" in text
    assert "4 runs" in text


def test_sizes_of_the_listing_are_those_of_the_files(home: Path) -> None:
    listed = json.loads(bench("list", "runs", "--runs", home, "--format", "json").stdout)
    on_disk = sum(
        path.stat().st_size for top in ("artefacts", "scratch") for path in (home / top).rglob("*") if path.is_file()
    )
    assert listed["bytes"] == on_disk
    assert listed["bytes"] == sum(entry["bytes"] for entry in [*listed["runs"], *listed["stages"]])
    [bilevel] = [entry for entry in listed["runs"] if entry["label"] == "bilevel (seed 1)"]
    assert bilevel["suites"] == ["artists"]
    assert len(bilevel["records"]) == 1


def test_thousands_of_artefacts_are_listed_in_seconds(tmp_path: Path) -> None:
    for k in range(3000):
        folder = tmp_path / "artefacts" / "images" / f"{k:020x}"
        folder.mkdir(parents=True)
        entry = {"identity": {"model": f"{k % 50:020x}"}, "files": {"00.png": {"bytes": 10, "sha256": ""}}}
        (folder / "artefact.json").write_text(json.dumps(entry))
    began = time.process_time()
    assert len(read_inventory(tmp_path).runs) == 50
    assert time.process_time() - began < 5


def test_a_damaged_record_is_reported_and_the_others_are_listed(home: Path) -> None:
    (home / "records" / "x.record.json").write_text("{")
    result = bench("list", "runs", "--runs", home)
    assert result.exit_code == 0
    assert "x.record.json" in result.stderr
    assert "bilevel" in result.stdout


def test_options_of_runs_are_refused_with_other_kinds(home: Path) -> None:
    assert bench("list", "methods", "--runs", home).exit_code == 2
    assert bench("list", "runs", "--runs", home, "--testbed", "mini").exit_code == 2


def test_a_run_is_deleted_without_its_records_and_without_what_others_need(home: Path) -> None:
    before = names(home)
    result = bench("clean", "bilevel (seed 1)", "--runs", home, "--yes")
    assert result.exit_code == 0
    gone = before - names(home)
    assert {name.partition("/")[0] for name in gone} == {"model", "cost", "images", "features"}
    assert len(gone) == 4
    assert len(list((home / "records").glob("*.record.json"))) == 3
    assert "freed" in result.stdout


def test_freed_bytes_are_those_that_the_disk_gets_back(home: Path) -> None:
    run = run_of(home, "bilevel (seed 1)")

    def used() -> int:
        return sum(path.stat().st_size for path in (home / "artefacts").rglob("*") if path.is_file())

    before = used()
    bench("clean", run.id, "--runs", home, "--yes")
    assert before - used() == run.bytes > 0


def test_a_model_that_another_run_needs_stays_unless_shared_is_given(home: Path) -> None:
    before = names(home)
    result = bench("clean", "distilled", "--runs", home, "--yes")
    assert result.exit_code == 0
    assert "needed by" in result.stdout
    assert names(home) == before
    bench("clean", "distilled", "--shared", "--runs", home, "--yes")
    assert f"model/{key_of('model', PLAIN)}" not in names(home)


def test_records_are_deleted_only_when_asked(home: Path) -> None:
    bench("clean", "bilevel (seed 1)", "--records", "--runs", home, "--yes")
    assert len(list((home / "records").glob("*.record.json"))) == 2
    assert len(list((home / "records").glob("*.parquet"))) == 2


def test_one_kind_of_all_runs_is_deleted_with_broken_links(home: Path) -> None:
    [pictures] = [part for part in run_of(home, "base").parts if part.kind == "images"]
    [picture] = pictures.folder.glob("*.png")
    link = home / "images" / "base" / "artists" / "p.png"
    link.parent.mkdir(parents=True)
    link.symlink_to(picture)
    bench("clean", "--kind", "pictures", "--runs", home, "--yes")
    assert not [name for name in names(home) if name.startswith("images/")]
    assert [name for name in names(home) if name.startswith("features/")]
    assert not link.is_symlink()


def test_checkpoints_of_unfinished_trainings_can_be_deleted(home: Path) -> None:
    before = names(home)
    bench("clean", "--kind", "checkpoints", "--runs", home, "--yes")
    assert not list(home.glob("scratch/model/*"))
    assert names(home) == before


def test_only_runs_of_the_age_are_deleted(home: Path) -> None:
    old = time.time() - 8 * DAY
    run = run_of(home, "bilevel (seed 1)")
    for path in [*(part.folder / "artefact.json" for part in run.parts), *run.record_files]:
        os.utime(path, (old, old))
    before = names(home)
    bench("clean", "--older-than", "7d", "--runs", home, "--yes")
    assert {name.partition("/")[2] for name in before - names(home)} == {part.key for part in run.parts}


def test_a_pruned_network_stays_while_a_stored_run_was_made_from_it(home: Path) -> None:
    result = bench("clean", "--kind", "stages", "--runs", home, "--yes")
    assert "can be needed by other runs" in result.stdout
    assert f"pruned/{key_of('pruned', NET)}" in names(home)
    bench("clean", "--kind", "stages", "--shared", "--runs", home, "--yes")
    assert f"pruned/{key_of('pruned', NET)}" not in names(home)


def test_what_a_running_process_uses_stays_and_is_named(home: Path) -> None:
    key = key_of("model", ERASED)
    with claims.using(Store(home), [key], "run bilevel", Progress()):
        selection = select(read_inventory(home), Choice(["bilevel (seed 1)"]), claims.live(home), time.time())
        assert selection.parts == []
        assert f"process {os.getpid()}" in selection.stays[0]
    assert select(read_inventory(home), Choice(["bilevel (seed 1)"]), claims.live(home), time.time()).parts
    assert not list((home / "claims").iterdir())


def test_the_claim_of_a_killed_process_holds_nothing(home: Path) -> None:
    with claims.using(Store(home), ["0" * 20], "run bilevel", Progress()):
        [path] = (home / "claims").glob("use-*.json")
        text = json.loads(path.read_text())
    killed = path.with_name(f"use-{key_of('model', ERASED)}-00000000.json")
    killed.write_text(json.dumps({**text, "pid": 2**22 + 1}))
    assert claims.live(home) == {}
    with claims.using(Store(home), [], "run bilevel", Progress()):
        assert not killed.exists()


def test_deleting_needs_an_answer(home: Path) -> None:
    before = names(home)
    result = bench("clean", "bilevel (seed 1)", "--runs", home)
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert "model" in result.stdout, "it says first what it would delete"
    assert names(home) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["unknown"], "bench list runs"),
        (["--older-than", "soon"], "7d"),
        (["--yes"], "--kind"),
        (["bilevel (seed 1)", "--explicit"], "--explicit"),
        ([], "nothing by default"),
    ],
)
def test_mistakes_are_refused_in_a_sentence(arguments: list[str], words: str, home: Path) -> None:
    before = names(home)
    result = bench("clean", *arguments, "--runs", home)
    assert result.exit_code == 2
    assert words in result.stderr
    assert names(home) == before


def test_a_label_of_several_runs_is_refused_with_their_ids(home: Path) -> None:
    other = {**ERASED, "concept": "boat"}
    put(Store(home), "model", other)
    put_record(home, "bilevel (seed 1)", other, PLAIN, method="bilevel", seed=1, concept={"targets": ["boat"]})
    result = bench("clean", "bilevel (seed 1)", "--runs", home, "--yes")
    assert result.exit_code == 2
    assert key_of("model", other)[:8] in result.stderr


def test_ages_are_parsed_and_printed() -> None:
    assert [parse_age(text) for text in ("90min", "1.5h", "7d", "2w")] == [5400, 5400, 7 * DAY, 14 * DAY]
    assert [age(seconds) for seconds in (5, 90, 7200, 3 * DAY)] == ["5 s", "1 min", "2 h", "3 d"]
    with pytest.raises(UsageError):
        parse_age("7")


def test_kinds_of_the_option_are_those_of_the_inventory() -> None:
    assert {str(kind) for kind in Kind} == set(KINDS)
