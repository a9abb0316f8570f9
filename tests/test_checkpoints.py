"""Training checkpoints: loading restores the last valid state exactly, or the one before it."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from faults import FULL, fault_at, outcome

from benchmark.errors import StoreError
from benchmark.store import durable, manifest
from benchmark.store.artefacts import Store
from benchmark.store.checkpoints import Checkpointer

ROOT = Path(__file__).parents[1]


def state(step: int) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(step)
    weight = torch.randn(6, 5, generator=generator)
    tensors = {
        "weight": weight,
        "tied": weight,
        "view": weight.t()[1:],
        "half": weight.to(torch.bfloat16),
        "count": torch.tensor(step),
        "empty": torch.zeros(0, 3),
        "learned": weight.clone().requires_grad_(True),
    }
    return SimpleNamespace(tensors=tensors, meta={"step": step, "ledger": [{"phase": "lower", "seconds": 0.1 * step}]})


def same(found, step: int) -> bool:
    expected = state(step)
    assert found.meta == expected.meta
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor.detach())
    return True


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))


@pytest.fixture
def checkpointer(tmp_path):
    return Checkpointer(tmp_path / "scratch")


def test_load_restores_views_ties_and_dtypes_exactly(checkpointer):
    assert checkpointer.load() is None
    checkpointer.save(state(1))
    assert same(Checkpointer(checkpointer.folder).load(), 1)


def test_only_the_last_two_checkpoints_are_retained(checkpointer):
    for step in range(1, 6):
        checkpointer.save(state(step))
    assert same(checkpointer.load(), 5)
    assert numbers(checkpointer.folder) == [4, 5]
    checkpointer.clear()
    assert checkpointer.load() is None


def test_saved_tensors_are_unaffected_by_later_training(checkpointer):
    live = state(1)
    checkpointer.save(live)
    live.tensors["weight"].zero_()
    assert same(checkpointer.load(), 1)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("tensors.safetensors", lambda p: os.truncate(p, p.stat().st_size // 2)),
        ("tensors.safetensors", lambda p: p.write_bytes(p.read_bytes()[:-1] + bytes([p.read_bytes()[-1] ^ 1]))),
        ("tensors.safetensors", os.unlink),
        ("meta.json", lambda p: p.write_text(p.read_text().replace("2", "3"))),
        ("artefact.json", lambda p: os.truncate(p, 10)),
        ("artefact.json", os.unlink),
    ],
)
def test_damaged_checkpoint_falls_back_to_the_previous_one_with_one_warning(checkpointer, caplog, name, harm):
    checkpointer.save(state(1))
    checkpointer.save(state(2))
    harm(checkpointer.folder / "checkpoint-000002" / name)
    assert same(checkpointer.load(), 1)
    assert len(caplog.records) == 1
    assert "checkpoint-000002 is damaged" in caplog.text
    assert same(checkpointer.load(), 1)
    assert len(caplog.records) == 1
    checkpointer.save(state(2))
    assert same(checkpointer.load(), 2)


def test_two_damaged_checkpoints_load_as_none(checkpointer, caplog):
    for step in (1, 2):
        checkpointer.save(state(step))
        os.truncate(checkpointer.folder / f"checkpoint-00000{step}" / "tensors.safetensors", 9)
    assert checkpointer.load() is None
    assert len(caplog.records) == 2


def test_fault_at_any_step_of_a_save_leaves_the_old_or_the_new_checkpoint(checkpointer, monkeypatch, caplog):
    checkpointer.save(state(1))
    done = 1
    for count in range(1, 60):
        with monkeypatch.context() as patch:
            calls = fault_at(count, FULL, patch)
            met = outcome(lambda done=done: checkpointer.save(state(done + 1)), StoreError)
        assert met is None or "The disk is full" in str(met)
        step = checkpointer.load().meta["step"]
        assert step in (done, done + 1)
        done = step
        assert same(checkpointer.load(), done)
        if len(calls) < count:
            break
    assert done > 1
    assert count > 6
    assert not caplog.records


def test_metadata_invalid_in_json_is_refused_before_writing(checkpointer):
    checkpointer.save(state(1))
    bad = state(2)
    bad.meta["loss"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpointer.save(bad)
    assert same(checkpointer.load(), 1)


def test_save_works_after_another_process_removed_the_scratch_folder(tmp_path):
    store = Store(tmp_path)
    mine = Checkpointer(store.scratch("unet", {"x": 1}))
    mine.save(state(1))
    with store.make("unet", {"x": 1}) as folder:  # the other process: it removes the scratch folder
        (folder / "f").write_text("done")
    assert mine.load() is None
    mine.save(state(2))
    assert same(mine.load(), 2)


@pytest.mark.parametrize("moment", ["save_file", "seal", "publish"])
def test_save_survives_removal_of_its_folder_by_another_process(tmp_path, monkeypatch, moment):
    """It moves the scratch folder away, with the checkpoint that is being written there."""
    owner = {"save_file": safetensors.torch, "seal": manifest, "publish": durable}[moment]
    before = getattr(owner, moment)

    def vanishing(*args, **kwargs):
        shutil.move(folder, tmp_path / "elsewhere")
        return before(*args, **kwargs)

    folder = tmp_path / "scratch"
    folder.mkdir()
    with monkeypatch.context() as patches:
        patches.setattr(owner, moment, vanishing)
        Checkpointer(folder).save(state(1))
    Checkpointer(folder).save(state(2))
    assert same(Checkpointer(folder).load(), 2)


def test_two_processes_in_one_folder_do_not_overwrite_each_other(checkpointer, monkeypatch):
    other = Checkpointer(checkpointer.folder)
    checkpointer.save(state(1))
    stale = checkpointer._numbers()
    other.save(state(2))
    monkeypatch.setattr(checkpointer, "_numbers", lambda: stale)
    checkpointer.save(state(3))
    assert numbers(checkpointer.folder) == [1, 2, 3]


def test_unreadable_checkpoint_raises_and_stays_in_place(checkpointer, monkeypatch):
    checkpointer.save(state(1))
    monkeypatch.setattr(Path, "read_bytes", lambda path: (_ for _ in ()).throw(PermissionError(13, "no", str(path))))
    with pytest.raises(StoreError, match="make it readable"):
        checkpointer.load()
    assert numbers(checkpointer.folder) == [1]


WORKER = """
import sys, torch
from types import SimpleNamespace
from benchmark.store.checkpoints import Checkpointer
checkpointer = Checkpointer(sys.argv[1])
for step in range(1, 1000):
    checkpointer.save(SimpleNamespace(tensors={"x": torch.full((20_000,), float(step))}, meta={"step": step}))
    print(step, flush=True)
"""


def test_kill_during_save_leaves_the_last_reported_step_or_the_next(warm_python, tmp_path, caplog):
    process = subprocess.Popen([warm_python, "-c", WORKER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    lines = [process.stdout.readline()]
    time.sleep(0.2)
    process.kill()
    lines += process.communicate()[0].splitlines()
    printed = int(lines[-1])
    found = Checkpointer(tmp_path).load()
    assert found.meta["step"] in (printed, printed + 1)
    assert torch.equal(found.tensors["x"], torch.full((20_000,), float(found.meta["step"])))
    assert not caplog.records
    durable.sweep(tmp_path)
    assert all(path.name.startswith("checkpoint-") for path in tmp_path.iterdir())
