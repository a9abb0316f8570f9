"""A whole run on the stand-in gives the same result when interrupted, resumed, damaged or repeated."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from standin import ASKED, Standin, request, whole

from benchmark import registry
from benchmark.api.model import Model
from benchmark.api.testbed import Workbench
from benchmark.console import Progress
from benchmark.errors import StoreError
from benchmark.generation import features, images, run_sheet
from benchmark.models.fitted import Fitted
from benchmark.models.plan import plan_of
from benchmark.models.pruned import Pruned
from benchmark.records.record import read_records, read_scores
from benchmark.store import checkpoints, durable, manifest
from benchmark.store.artefacts import Store, key_of
from benchmark.suites import artists
from benchmark.tables.table1_styles import table
from benchmark.testbeds.mini import data, prompts, testbed
from methods import sampling
from methods.pruning import architecture, magnitude
from methods.training import loop
from metrics import encoders

pytestmark = pytest.mark.usefixtures("standin")


def cells(home: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """(label, suite) -> the cells of the records there are, as numbers, and what was spent."""
    return {
        (one.label, one.suite): {
            "cells": {name: (cell.value, cell.n, cell.of, cell.ci) for name, cell in one.cells.items()},
            "spent": [(entry["phase"], entry["iterations"], entry["flops"]) for entry in one.ledger],
        }
        for one in read_records([home / "records"])
    }


def contents(home: Path, *kinds: str) -> dict[str, str]:
    """Checksums of all files of these kinds of artefacts; manifests, which tell the time, left out."""
    return {
        str(file.relative_to(home)): hashlib.sha256(file.read_bytes()).hexdigest()
        for kind in kinds
        for file in sorted((home / "artefacts" / kind).rglob("*"))
        if file.is_file() and file.name != "artefact.json"
    }


def same(home: Path, other: Path) -> None:
    """Same figures; models, features and images equal bit for bit; nothing left lying."""
    suite = {suite for _, suite in cells(home)}
    assert cells(home) == {key: value for key, value in cells(other).items() if key[1] in suite}
    for kind in ("pruned", "model", "latents", "images", "seen", "features"):
        assert contents(home, kind) == contents(other, kind), kind
    assert len(contents(home, "images")) > 3 * (ASKED["artists"] + ASKED["coco"])
    assert not list((home / "tmp").glob("*"))
    assert not list(home.glob("scratch/*/*"))


def without(finished: Path, home: Path, *kinds: str) -> Path:
    """A copy of the finished run as it was before bilevel was trained, and before anything of `kinds` was made.

    What suite coco made is left, for speed: continue with `alone=True`.
    """
    shutil.copytree(finished, home, symlinks=True)
    for outcome in ("records", "pictures"):
        shutil.rmtree(home / outcome)
    manifests = {path.parent: json.loads(path.read_text()) for path in (home / "artefacts").glob("*/*/artefact.json")}
    trained = {one["key"] for one in manifests.values() if one["identity"].get("method") == "bilevel"}
    coco = {folder.name for folder in manifests if "retention" in _text(folder / "prompts.json")}
    for folder, one in manifests.items():
        seen = set(one["identity"].get("images", [folder.name]))
        mine = one["key"] in trained or one["identity"].get("model") in trained
        looked = one["kind"] in ("seen", "features") and "images" in one["identity"]
        if (mine or looked or one["kind"] in kinds) and not seen <= coco:
            shutil.rmtree(folder)
    return home


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def nth(function: Callable, count: int, error: BaseException, after: bool = False) -> Callable:
    """`function`, whose `count`-th call raises `error`, before its work or after it."""
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count and not after:
            raise error
        result = function(*args, **kwargs)
        if calls == count:
            raise error
        return result

    return call


def test_run_writes_records_images_and_a_sheet(finished: Path) -> None:
    found = cells(finished)
    labels = {label for label, _ in found}
    assert {label.split(" ")[0] for label in labels} == {"base", "distilled", "bilevel"}
    assert {suite for _, suite in found} == {"artists", "coco"}
    assert len(found) == 6
    assert list((finished / "pictures").glob("*.png"))
    for record in read_records([finished / "records"]):
        assert read_scores(record).num_rows == ASKED[record.suite]
        assert all(cell.value is not None for cell in record.cells.values())


def test_second_run_computes_nothing(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    shutil.copytree(finished, home, symlinks=True)

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the store has it")

    for owner, name in ((sampling, "sample"), (loop, "train"), (architecture, "write_pruned"), (data, "draw")):
        monkeypatch.setattr(owner, name, never)
    monkeypatch.setattr(Pruned, "load", never)
    monkeypatch.setattr(Standin, "base", never)
    monkeypatch.setattr(encoders.ModuleEncoder, "__call__", never)
    whole(home)
    same(home, finished)


Cut = tuple[Any, str, int, bool]
"""The function (its owner, name) that is cut in its n-th call, before its work or after it."""
CHAINS: dict[str, tuple[tuple[str, ...], dict[str, Cut]]] = {
    "pruning and pictures": (
        ("pruned", "latents", "model", "cost"),
        {
            "pruning, not yet kept": (architecture, "write_pruned", 1, True),
            "drawing D_f": (data, "draw", 1, True),
            "sampling concept images": (testbed, "initial_noise", 1, True),
            "training the reference": (loop, "_check_weights", 1, True),
        },
    ),
    "training": (
        (),
        {
            "before any checkpoint": (loop, "_read", 1, False),
            "while the second checkpoint is written": (checkpoints.Checkpointer, "_publish", 2, False),
            "after a checkpoint": (checkpoints.Checkpointer, "save", 1, True),
            "cost is kept, model is not": (architecture, "write_pruned", 1, True),
        },
    ),
    "pictures and scores": (
        (),
        {
            "between two shards": (images, "_make", 2, False),
            "writing a shard": (manifest, "seal", 2, False),
            "reading a shard": (features, "read_shard", 1, True),
            "encoding": (encoders.ModuleEncoder, "__call__", 2, False),
            "scoring": (artists, "score_contents", 2, False),
            "between scores and record": (durable, "write_bytes", 4, True),
            "contact sheet": (run_sheet, "write_contact_sheet", 1, False),
        },
    ),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_run_interrupted_in_every_stage_resumes_to_the_same_result(
    chain: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cut falls into what the run before it left."""
    kinds, cuts = CHAINS[chain]
    home = without(finished, tmp_path / "home", *kinds)
    for stage, (owner, name, count, after) in cuts.items():
        with monkeypatch.context() as patches:
            patches.setattr(owner, name, nth(getattr(owner, name), count, KeyboardInterrupt(stage), after))
            with pytest.raises(KeyboardInterrupt, match=stage):
                whole(home, alone=True)
    whole(home, alone=True)
    same(home, finished)


def test_full_disk_gives_one_sentence_and_the_run_resumes_later(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = without(finished, tmp_path / "home")
    for place in (
        "artefacts/cost",
        "artefacts/model",
        "artefacts/images",
        "artefacts/seen",
        "artefacts/features",
        "records",
        "pictures",
    ):

        def refuse(function: Callable, place: str = place) -> Callable:
            def call(source: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
                if Path(target).is_relative_to(home / place):
                    raise OSError(errno.ENOSPC, "No space left on device", str(target))
                return function(source, target, *args, **kwargs)

            return call

        with monkeypatch.context() as patches:
            for name in ("rename", "replace"):
                patches.setattr(os, name, refuse(getattr(os, name)))
            with pytest.raises(StoreError, match="disk is full"):
                whole(home, alone=True)
    whole(home, alone=True)
    same(home, finished)


def test_resumed_training_starts_from_its_checkpoint(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = without(finished, tmp_path / "home")
    with monkeypatch.context() as patches:
        save = checkpoints.Checkpointer.save
        patches.setattr(checkpoints.Checkpointer, "save", nth(save, 2, KeyboardInterrupt(), after=True))
        with pytest.raises(KeyboardInterrupt):
            whole(home, alone=True)
    steps: list[int] = []
    locate = loop.locate

    def watched(phases: Sequence, step: int) -> Any:
        steps.append(step)
        return locate(phases, step)

    monkeypatch.setattr(loop, "locate", watched)
    whole(home, alone=True)
    assert min(steps) == 4
    same(home, finished)


def test_shards_do_not_depend_on_their_order(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = without(finished, tmp_path / "home")

    forwards = images._sample

    def backwards(bench: Workbench, model: Model, todo: Sequence, *what: Any) -> None:
        forwards(bench, model, todo[::-1], *what)

    monkeypatch.setattr(images, "_sample", backwards)
    whole(home, alone=True)
    same(home, finished)


def test_images_do_not_depend_on_the_number_of_threads(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = without(finished, tmp_path / "home")
    alone = images._sample

    def abreast(*args: Any) -> None:
        torch.set_num_threads(3)
        try:
            alone(*args)
        finally:
            torch.set_num_threads(1)

    monkeypatch.setattr(images, "_sample", abreast)
    whole(home, alone=True)
    same(home, finished)


def test_records_of_one_run_form_one_table(finished: Path, tmp_path: Path) -> None:
    """base, reference and method, each with the figures of both suites; also under a budget of one's own."""
    found = [(record, "local") for record in read_records([finished / "records"])]
    shown = table(found, "mini", "artists")  # type: ignore[arg-type]
    assert [row.record.method for row in shown.rows] == ["base", "distilled", "bilevel"]
    assert all({"clip", "cp", "csd", "fid", "coco_clip"} <= row.cells.keys() for row in shown.rows)

    home = without(finished, tmp_path / "home")
    whole(home, budget="1it")
    made = read_records([home / "records"])
    trained = {json.dumps(record.budget, sort_keys=True) for record in made if record.method != "base"}
    assert trained == {'{"default": false, "iterations": 1}'}
    shown = table([(record, "local") for record in made], "mini", "artists", everything=True)
    assert [row.record.method for row in shown.rows] == ["base", "distilled", "bilevel"]
    assert all({"clip", "cp", "csd", "fid", "coco_clip"} <= row.cells.keys() for row in shown.rows)


def test_training_captions_are_disjoint_from_suite_prompts(weights: Path) -> None:
    bed = Standin(weights)
    for targets in ((), ("Hokusai",), ("Gustav Klimt", "Joan Miró", "Paul Cézanne")):
        concept = bed.concept(targets)
        asked = prompts.asked_by_suites(concept)
        trained = prompts.erasing(concept)
        for choice in ("plain", "all-but-targets"):
            trained = trained + data.retention_set(concept, choice)[1]
        assert len(asked) > 1000
        assert asked.isdisjoint(trained)


def test_damaged_images_are_set_aside_and_sampled_again(finished: Path, tmp_path: Path) -> None:
    home = without(finished, tmp_path / "home")
    asked = [p.parent for p in sorted(home.glob("artefacts/images/*/prompts.json")) if "targets" in p.read_text()]
    cut, changed, removed = (folder / "01.png" for folder in asked[:3])
    cut.write_bytes(cut.read_bytes()[:200])
    changed.write_bytes(changed.read_bytes()[:-1] + b"\0")
    removed.unlink()
    whole(home, alone=True)
    same(home, finished)
    assert {path.name for path in (home / "damaged").iterdir()} == {f"images-{folder.name}-1" for folder in asked[:3]}


def test_truncated_weights_are_set_aside_and_computed_again(finished: Path, tmp_path: Path) -> None:
    home = without(finished, tmp_path / "home", "images")
    hurt = {
        path.parent: path.write_bytes(path.read_bytes()[:-100])
        for kind in ("model", "pruned", "latents")
        for path in (home / "artefacts" / kind).rglob("*.safetensors")
    }
    whole(home, alone=True)
    same(home, finished)
    expected = {f"{folder.parent.name}-{folder.name}-1" for folder in hurt}
    assert {path.name for path in (home / "damaged").iterdir()} == expected
    assert {name.split("-")[0] for name in expected} == {"model", "pruned", "latents"}


def test_model_key_depends_only_on_settings_that_change_the_model(weights: Path, tmp_path: Path) -> None:
    """Settings of the runtime are not part of the identity; targets, seed, budget and rates are."""

    def key(**changes: Any) -> str:
        asked = request(tmp_path, **changes)
        bench = Workbench(Standin(weights), Store(tmp_path), Progress(), torch.device("cpu"))
        concept = bench.testbed.concept(asked.targets)
        plan = plan_of(bench, asked, concept)
        return key_of("model", Fitted(bench, plan).identity)

    usual = key(overrides={})
    assert key(overrides={"checkpoint_every": 7, "log_every": 3}) == usual
    others = [
        key(overrides={}, **change)
        for change in ({"seed": 1}, {"targets": ("Monet",)}, {"budget": "3it"}, {"macs": 0.7}, {"preset": "paper"})
    ]
    others.append(key(overrides={"upper_rate": 1e-5}))
    assert len({usual, *others}) == len(others) + 1


def test_reference_key_does_not_depend_on_the_targets(weights: Path, tmp_path: Path) -> None:
    """The distilled model on plain data is the same, whatever is to be forgotten: it is trained once."""

    keys = set()
    for targets in ((), ("Monet",)):
        asked = request(tmp_path, targets=targets, method="distilled", overrides={})
        bench = Workbench(Standin(weights), Store(tmp_path), Progress(), torch.device("cpu"))
        plan = plan_of(bench, asked, bench.testbed.concept(targets))
        keys.add(key_of("model", Fitted(bench, plan).identity))
    assert len(keys) == 1


def test_plugins_of_a_default_run_are_registered() -> None:
    for group, name in (("methods", "bilevel"), ("suites", "artists")):
        assert registry.load(group, name).name == name
    assert registry.load("testbeds", "mini") is testbed.Mini
    assert registry.load("prunings", "magnitude") is magnitude.prune
