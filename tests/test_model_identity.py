"""Rows, seeds and versions are joined by the model's key in records, whatever their labels and folders are."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from record_examples import cell, record, write

from benchmark.api.model import Model, TrainingFacts
from benchmark.api.request import RunRequest
from benchmark.console import Progress
from benchmark.errors import RecordError
from benchmark.figures.tradeoff import points
from benchmark.generation.gallery import name_of
from benchmark.models.fitted import Fitted
from benchmark.models.plan import plan_of
from benchmark.pipeline.setup import workbench_for
from benchmark.records.record import BROUGHT, Record, read_records
from benchmark.store.artefacts import key_of
from benchmark.tables.over_seeds import over_seeds
from benchmark.tables.select import Found, select_by_sampling
from benchmark.tables.table1_styles import table
from benchmark.tables.table2_3_explicit import groups

MINE = "my/eraser.py:Eraser"
OLD, NEW, OTHER = "a" * 20, "b" * 20, "c" * 20


def local(*records: Record) -> list[Found]:
    return [(item, "local") for item in records]


def plug_in(key: str, suite: str = "artists", seed: int = 0, time: str = "2026-01-01", **more: Any) -> Record:
    """A record of a method from a file; `key` is that of its code with seed 0."""
    model = key if seed == 0 else f"{seed}{key[1:]}"
    fields = {"model_key": model, "setting_key": key, "made": {"time": time}, "seed": seed}
    return record(MINE, suite, **(fields | more))


def brought(name: str, key: str, suite: str = "artists", **more: Any) -> Record:
    fields = {"pruning": BROUGHT, "macs": 1.0, "data": BROUGHT, "budget": {}, "model_key": key, "setting_key": key}
    return record(name, suite, counted={"share": 1.0, "checkpoint": key * 3}, **(fields | more))


def cells_of(entries: list[Found], **more: Any) -> dict[str, set[str]]:
    made = table(entries, "mini", "artists", **more)
    assert len({row.label for row in made.rows}) == len(made.rows)
    return {row.label: set(row.cells) for row in made.rows}


def test_records_of_one_name_share_a_row_only_for_the_same_checkpoint() -> None:
    entries = local(brought("theirs", NEW), brought("theirs", OLD, "coco"))
    rows = cells_of(entries)
    assert {"clip", "cp", "csd"} in rows.values()
    assert {"fid", "coco_clip"} in rows.values()
    assert sorted(label.rpartition(" · ")[2] for label in rows) == ["model aaaaaaaa", "model bbbbbbbb"]
    assert list(cells_of(local(brought("theirs", NEW), brought("theirs", NEW, "coco"))).values()) == [
        {"clip", "cp", "csd", "fid", "coco_clip"}
    ]


def test_records_of_one_checkpoint_under_two_names_fill_one_row() -> None:
    entries: list[Found] = [(brought("mine", NEW), "local"), (brought("theirs", NEW, "coco"), "reference")]
    (row,) = table(entries, "mini", "artists").rows
    assert (row.label.partition(" ·")[0], row.source) == ("mine", "local")
    assert {"clip", "fid"} <= set(row.cells)


def test_records_of_a_plug_in_before_its_edit_are_left_out_and_counted() -> None:
    entries = local(
        plug_in(OLD, time="2026-01-01"), plug_in(OLD, "coco", time="2026-01-01"), plug_in(NEW, time="2026-01-02")
    )
    usual = table(entries, "mini", "artists")
    assert [set(row.cells) for row in usual.rows] == [{"clip", "cp", "csd"}]
    assert usual.rows[0].record.model_key == NEW
    assert any(note.startswith("2 more records have") for note in usual.notes)
    assert sorted(cells_of(entries, everything=True)) == ["Eraser · model aaaaaaaa", "Eraser · model bbbbbbbb"]


def test_seed_of_older_code_does_not_count_as_a_seed_of_the_new_code() -> None:
    values = {"clip": 20.0}
    entries = local(
        plug_in(OLD, seed=1, values={"clip": 90.0}, time="2026-01-01"),
        plug_in(NEW, seed=0, values=values, time="2026-01-02"),
        plug_in(NEW, seed=2, values=values, time="2026-01-02"),
    )
    assert [row.record.seed for row in table(entries, "mini", "artists").rows] == [0, 2]
    folded = over_seeds(table(entries, "mini", "artists", everything=True)).rows
    assert sorted((row.label.count("seeds"), row.cells["clip"].value) for row in folded) == [(0, 90.0), (1, 20.0)]


def test_older_records_are_identified_by_their_image_folder() -> None:
    images = {"images": f"images/{MINE.replace('/', '-')}-{NEW[:8]}/artists"}
    old, new = record(MINE, **images), plug_in(NEW, "coco")
    (row,) = table(local(old, new), "mini", "artists").rows
    assert {"clip", "fid"} <= set(row.cells)
    assert len(table(local(old, plug_in(OLD, "coco")), "mini", "artists", everything=True).rows) == 2


def test_every_committed_row_is_of_one_model() -> None:
    folder = Path(__file__).parents[1] / "results" / "mini"
    for name in ("records", "studies", "strengths"):
        entries = [(item, "reference") for item in read_records([folder / name])]
        assert all(item.model_id for item, _ in entries)
        made = table(entries, "mini", "artists", everything=True, long=True)  # type: ignore[arg-type]
        assert max(Counter((row.label, row.source) for row in made.rows).values()) == 1
    full = [item for item in read_records([folder]) if "limit" not in item.sampler]
    together = [(item, "reference") for item in full]
    labels = [row.label for row in table(together, "mini", "artists", everything=True).rows]  # type: ignore[arg-type]
    assert len(set(labels)) == len(labels)
    assert "base · against magnitude 0.8 · 20 iterations" in labels


def test_coco_in_another_precision_never_fills_a_row() -> None:
    rough = {"scheduler": "pndm", "steps": 25, "guidance": 4.0, "precision": "bf16"}
    same = {"model_key": NEW, "setting_key": NEW}
    entries = local(record("base", **same), record("base", "coco", sampler=rough, label="base, bf16", **same))
    assert list(cells_of(entries, everything=True).values()) == [{"clip", "cp", "csd"}, {"fid", "coco_clip"}]
    entries += local(record("base", sampler=rough, label="base, bf16", **same))
    labels = {label: set(cells) for label, cells in cells_of(entries, everything=True).items()}
    assert labels == {"base": {"clip", "cp", "csd"}, "base, bf16": {"clip", "cp", "csd", "fid", "coco_clip"}}


def test_a_seed_in_two_folders_counts_once() -> None:
    def run(seed: int, clip: float, time: str, **more: Any) -> Record:
        return record("esd", seed=seed, values={"clip": clip}, made={"time": time}, **more)

    entries = local(run(0, 10.0, "2026-01-01"), run(0, 30.0, "2026-01-03"), run(1, 40.0, "2026-01-02"))
    made = over_seeds(table(entries, "mini", "artists"))
    (row,) = made.rows
    assert (row.label.partition(" ")[2], row.cells["clip"].value) == ("(2 seeds)", 35.0)
    assert any("counts once, with the values that were scored last" in note for note in made.notes)


def test_tradeoff_point_counts_a_repeated_seed_once_and_splits_prunings() -> None:
    def run(value: float, seed: int = 0, **more: Any) -> Record:
        return record("esd", seed=seed, values={"target_style": value, "kept_style": 0.5}, **more)

    entries: list[Found] = [(run(0.1), "reference"), (run(0.2), "local"), (run(0.4, 1), "local")]
    (point,) = points(table(entries, "mini", "artists", long=True))
    assert (point.line, point.seeds, point.means["target_style"]) == ("esd", 2, pytest.approx(0.3))
    entries.append((run(0.9, macs=0.55), "local"))
    made = points(table(entries, "mini", "artists", long=True, everything=True))
    assert {(same.line, same.seeds) for same in made} == {("esd", 2), ("esd · magnitude 0.55", 1)}


def test_labels_name_the_settings_that_differ() -> None:
    short = {"flops": None, "iterations": 20, "default": False}
    entries = local(
        record("distilled", reference_key=OLD),
        record("base", reference_key=OLD),
        record("distilled", reference_key=NEW, budget=short),
        record("base", reference_key=NEW),
        record("distilled", reference_key=OLD, recipe=0),
        record("distilled", reference_key=OTHER, reference="base"),
    )
    labels = list(cells_of(entries, everything=True))
    assert labels[:2] == ["base", "base · 20 iterations"]
    assert "distilled · recipe 0" in labels
    assert any("compared with base" in label for label in labels)


def test_attacks_on_two_checkpoints_of_one_name_are_two_rows() -> None:
    concept = {"kind": "explicit", "targets": ["sign"], "anchor": "a wall", "neighbours": []}
    values = {"explicit": cell("explicit", 10.0)}

    def attacked(suite: str, key: str) -> Record:
        return brought("theirs", key, suite, concept=concept, values=values)

    suites = ("mma", "ring-a-bell")
    apart = groups(local(attacked("mma", OLD), attacked("ring-a-bell", NEW)), "mini", suites)
    assert [set(by) for by, _ in apart] == [{"mma"}, {"ring-a-bell"}]
    joined = groups(local(attacked("mma", NEW), attacked("ring-a-bell", NEW)), "mini", suites)
    assert [set(by) for by, _ in joined] == [set(suites)]


def test_record_of_an_edited_plug_in_does_not_replace_the_earlier_one(tmp_path: Path) -> None:
    write(tmp_path, plug_in(OLD), plug_in(NEW))
    assert {item.model_key for item in read_records([tmp_path])} == {OLD, NEW}
    write(tmp_path, plug_in(NEW, values={"clip": 1.0}))
    assert len(read_records([tmp_path])) == 2


def test_a_record_of_an_older_form_is_replaced_by_the_same_run(tmp_path: Path) -> None:
    images = {"images": f"images/eraser-{NEW[:8]}/artists"}
    write(tmp_path, record(MINE, **images))
    write(tmp_path, plug_in(OLD))
    assert len(read_records([tmp_path])) == 2
    write(tmp_path, plug_in(NEW, **images))
    assert {item.model_key for item in read_records([tmp_path])} == {OLD, NEW}
    assert len(list(tmp_path.iterdir())) == 4


def test_long_method_path_gives_a_valid_file_name() -> None:
    far = record(f"{'folder/' * 60}eraser.py:Eraser")
    assert len(f"{far.stem}.{'0' * 12}.scores.parquet") < 255
    assert far.stem != record(f"{'folder/' * 61}eraser.py:Eraser").stem


@pytest.mark.parametrize("label", ["folder/" * 60 + "eraser.py:Eraser", "\u6f22" * 200])
def test_long_label_gives_a_valid_folder_name(label: str) -> None:
    named = [name_of(Model(label, {"key": k}, TrainingFacts(label))) for k in range(2)]
    assert all(len(f"artists-{name}.png".encode()) < 255 for name in named)
    assert named[0] != named[1]


def test_rows_of_one_model_from_two_folders_stay_separate(tmp_path: Path) -> None:
    same = {"model_key": NEW, "setting_key": NEW}
    for place, clip in (("a", 10.0), ("b", 20.0)):
        values = {"artists": {"clip": clip}, "coco": {"fid": clip}}
        write(tmp_path / place, *(record("esd", suite, values=values, **same) for suite in ("artists", "coco")))
    rows = table(local(*read_records([tmp_path / "a", tmp_path / "b"])), "mini", "artists").rows
    assert [(row.cells["clip"].value, row.cells["fid"].value) for row in rows] == [(10.0, 10.0), (20.0, 20.0)]


def test_records_of_a_testbed_with_other_sampler_settings_are_left_out() -> None:
    mine = {"scheduler": "pndm", "steps": 25, "guidance": 4.0}
    another = {**mine, "steps": 50}
    entries = local(record("base", testbed="own"), record("base", testbed="own", sampler=another), record("base"))
    assert [item.sampler["steps"] for item, _ in select_by_sampling(entries, "own", mine)] == [25, 25]
    assert select_by_sampling(entries, "own", {}) == entries
    with pytest.raises(RecordError, match="different steps"):
        table(entries, "own", "artists")


def test_two_testbeds_of_one_name_have_separate_rows() -> None:
    another = {"scheduler": "pndm", "steps": 50, "guidance": 4.0}
    entries = local(record("base", world={"weights": "a"}), record("base", world={"weights": "b"}, sampler=another))
    assert len(cells_of(entries, everything=True)) == 2


@pytest.mark.usefixtures("standin")
def test_training_seeds_of_one_setting_share_its_key(tmp_path: Path) -> None:
    request = RunRequest("bilevel", "artists", runs=tmp_path, device="cpu")
    with Progress() as progress:
        bench = workbench_for(request.runtime, tmp_path, progress)
        concept = bench.testbed.concept(())
        asked = [replace(request, seed=seed) for seed in (0, 1)] + [replace(request, budget="3it")]
        models = [Fitted(bench, plan_of(bench, item, concept)) for item in asked]
    assert len({key_of("model", model.identity) for model in models}) == 3
    assert models[0].identity == models[0].setting == models[1].setting != models[2].setting
    assert not list(tmp_path.glob("artefacts/model/*"))
