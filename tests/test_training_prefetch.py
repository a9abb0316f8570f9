"""Reading ahead in worker processes changes no result, names unreadable pictures, and leaves no process behind."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import time
from collections import namedtuple
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_sd_data import bench, pipeline, retention
from test_training_loop import CONCEPT, SMALL, bilevel, pruned
from tiny import LENGTH, SIZE, WIDTH, context, materials, same
from torch import Tensor

from benchmark.cost import reading
from benchmark.errors import DataError, TrainingError
from benchmark.testbeds.stable_diffusion import latent_moments
from benchmark.testbeds.stable_diffusion.captions import read_split
from benchmark.testbeds.stable_diffusion.latent_moments import Moments
from methods.base import FileData
from methods.budget import Budget
from methods.distilled import Distilled, DistilledConfig
from methods.training import prefetch
from methods.training.batches import BatchStream, NoiseStream
from methods.training.prefetch import StepBatches, automatic_workers, phase_at, read_ahead

__all__ = ["pipeline"]  # a fixture

CPU = torch.device("cpu")


class Files(FileData):
    """Twelve picture files of 4 x 8 x 8 values, whose latents are these values."""

    row_bytes = 4 * SIZE * SIZE

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.files = [folder / f"{k}.png" for k in range(12)]
        for k, file in enumerate(self.files):
            values = torch.randint(256, (SIZE, SIZE, 4), generator=torch.Generator().manual_seed(k), dtype=torch.uint8)
            Image.fromarray(values.numpy(), "RGBA").save(file)
        self.reader = Reader(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def encoded(self, indices: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        text = torch.randn(12, LENGTH, WIDTH, generator=torch.Generator().manual_seed(3))
        return rows.float() / 127.5 - 1, text[indices]


class Reader:
    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files

    def __call__(self, rows: Sequence[int]) -> Tensor:
        pictures = []
        for row in rows:
            try:
                picture = Image.open(self.files[row])
            except OSError as error:
                raise DataError(f"{self.files[row]} cannot be read.") from error
            values = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
            pictures.append(values.view(SIZE, SIZE, 4).permute(2, 0, 1))
        return torch.stack(pictures)


def stream(data: FileData, name: str = "retain") -> BatchStream:
    null = torch.zeros(data.batch(torch.tensor([0]))[1].shape[1:])
    return BatchStream(name=name, seed=5, data=data, null=null, batch=4, timesteps=1000, dropout=0.3)


def drawn(cycle, steps: range, workers: int, rank: int = 0, world: int = 1) -> list[list[dict[str, object]]]:
    with StepBatches(cycle, steps, CPU, rank, world, workers) as source:
        return [[vars(batch) for batch in source.draw(step)] for step in steps]


def equal(left: object, right: object) -> bool:
    if isinstance(left, Tensor):
        return isinstance(right, Tensor) and torch.equal(left, right)
    if isinstance(left, dict):
        return isinstance(right, dict) and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(equal, left, right))
    return left == right


def test_phase_and_iteration_of_each_step_of_a_cycle() -> None:
    assert [phase_at([3, 1], step) for step in range(9)] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (0, 3), (0, 4), (0, 5), (1, 1), (0, 6),
    ]  # fmt: skip


@pytest.mark.parametrize("crops_kept", [0, 2])
def test_batches_that_workers_read_equal_those_read_in_the_step(crops_kept, tiny, pipeline, tmp_path) -> None:
    """Captioned JPEG pictures, as crops and as stored moments; a phase with two streams, and one with noise alone."""
    data = retention(tiny, pipeline, tmp_path, crops_kept)
    noise = NoiseStream(name="noise", seed=1, text=torch.randn(2, 77, 32), batch=4, steps=5, shape=(4, 8, 8))
    cycle = [(2, (stream(data), stream(data, "upper"))), (1, (noise,))]
    steps = range(4, 13)  # as after a resume
    ours, theirs = drawn(cycle, steps, workers=2), drawn(cycle, steps, workers=0)
    assert equal(ours, theirs)
    assert not equal(ours[0], ours[1])


def test_each_process_reads_its_own_rows(tmp_path) -> None:
    cycle = [(1, (stream(Files(tmp_path / "files")),))]
    whole = drawn(cycle, range(4), workers=0)
    for rank in (0, 1):
        part = drawn(cycle, range(4), workers=2, rank=rank, world=2)
        for ours, all_rows in zip(part, whole, strict=True):
            assert torch.equal(ours[0]["x0"], all_rows[0]["x0"][2 * rank : 2 * rank + 2])


@pytest.mark.parametrize("kind", ["distilled", "bilevel"])
def test_twenty_training_steps_are_bit_equal_with_and_without_workers(kind, tmp_path) -> None:
    files = Files(tmp_path / "files")
    method = bilevel(clip=1.0) if kind == "bilevel" else Distilled(DistilledConfig(**SMALL))
    fits, waits = [], []
    for workers in (0, 2):
        place = replace(context(), workers=workers)
        budget, source = Budget(iterations=20), materials(retain=files)
        fits.append((method.fit(copy.deepcopy(pruned()), source, CONCEPT, budget, place, 0), place.curve))
        waits.append(place.data_waits)
    assert same(fits[0][0], fits[1][0])
    assert fits[0][1] == fits[1][1]
    assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in waits)
    assert not active_children()


def test_an_unreadable_picture_is_named_as_without_workers(tmp_path) -> None:
    files = Files(tmp_path / "files")
    files.files[7].write_bytes(b"no picture")
    messages = set()
    for workers in (0, 2):
        with pytest.raises(DataError) as caught:
            drawn([(1, (replace(stream(Files(tmp_path / "good")), data=files),))], range(3), workers)
        messages.add(str(caught.value))
    assert messages == {f"{files.files[7]} cannot be read."}
    assert not active_children()


def test_workers_end_with_the_training_also_after_an_error(tmp_path) -> None:
    cycle = [(1, (stream(Files(tmp_path / "files")),))]
    with StepBatches(cycle, range(50), CPU, workers=2) as source:
        source.draw(0)
        assert len(active_children()) == 2
    assert not active_children()
    with pytest.raises(IndexError):
        _stopped_by_an_error(cycle)
    assert not active_children()


def _stopped_by_an_error(cycle) -> None:
    with StepBatches(cycle, range(50), CPU, workers=2) as source:
        source.draw(0)
        raise IndexError


def test_a_killed_worker_gives_one_sentence(tmp_path) -> None:
    cycle = [(1, (stream(Files(tmp_path / "files")),))]
    handler = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(TrainingError, match=r"reads training pictures was killed.*fewer --workers"):
        _stopped_by_a_killed_worker(cycle)
    assert signal.getsignal(signal.SIGCHLD) is handler


def _stopped_by_a_killed_worker(cycle) -> None:
    with StepBatches(cycle, range(1000), CPU, workers=1) as source:
        source.draw(0)
        for child in active_children():
            os.kill(child.pid, signal.SIGKILL)
        for step in range(1, 1000):
            source.draw(step)


def test_reading_ahead_leaves_torchs_random_numbers_alone(tmp_path) -> None:
    cycle = [(1, (stream(Files(tmp_path / "files")),))]
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    drawn(cycle, range(3), workers=1)
    assert torch.equal(torch.rand(3), expected)


def test_little_shared_memory_reduces_the_workers_with_a_warning(tmp_path, monkeypatch) -> None:
    data = Files(tmp_path / "files")
    usage = namedtuple("usage", "total used free")
    batch_bytes, lines = 4 * data.row_bytes, []
    monkeypatch.setattr(prefetch.shutil, "disk_usage", lambda path: usage(0, 0, int(2.5 * 3 * batch_bytes / 0.8)))
    with StepBatches([(1, (stream(data),))], range(9), CPU, workers=4, tell=lines.append):
        assert len(active_children()) == 2
    assert len(lines) == 1
    assert "enough for 2 of 4 processes" in lines[0]


def test_a_cpu_uses_no_workers_and_a_gpu_at_most_four(monkeypatch) -> None:
    monkeypatch.setattr(prefetch.os, "sched_getaffinity", lambda process: range(16))
    assert automatic_workers(CPU) == 0
    cuda = torch.device("cuda")
    assert [automatic_workers(cuda, processes) for processes in (1, 4, 8, 16)] == [4, 3, 1, 0]


def test_readers_of_a_testbed_can_be_sent_to_a_worker(tiny, pipeline, tmp_path) -> None:
    for crops_kept in (0, 2):
        data = retention(tiny, pipeline, tmp_path, crops_kept)
        read = data.reader([3, 0])
        assert read.nbytes == 2 * data.row_bytes
        assert torch.equal(pickle.loads(pickle.dumps(data.reader))([3, 0]), read)


def test_tasks_are_read_ahead_in_order(tmp_path) -> None:
    reader = Files(tmp_path / "files").reader
    tasks = [[k, (k + 5) % 12] for k in range(12)]
    for workers in (0, 2):
        assert equal(list(read_ahead(reader, tasks, workers)), [reader(task) for task in tasks])
    assert not active_children()


def test_a_shard_is_written_while_the_next_one_is_encoded(tiny, pipeline, tmp_path, monkeypatch) -> None:
    """Encoding goes on while the first shard's write is blocked, and waits before a third shard is in memory."""
    monkeypatch.setattr(latent_moments, "SHARD", 4)
    split, events = read_split(tiny.parent / "coco", "train"), []
    encode, write = Moments._encode, Moments._write

    def encoding(self, bench, start):
        events.append(f"encode {start}")
        return encode(self, bench, start)

    def writing(self, bench, start, moments, held=None):
        deadline = time.monotonic() + 20
        while f"encode {start + 4}" not in events and start + 4 < 12 and time.monotonic() < deadline:
            time.sleep(0.01)
        events.append(f"write {start}")
        write(self, bench, start, moments, held)

    monkeypatch.setattr(Moments, "_encode", encoding)
    monkeypatch.setattr(Moments, "_write", writing)
    Moments(pipeline, "vae", split.files, 2, 64).make(bench(tmp_path))
    assert events.index("encode 4") < events.index("write 0")
    assert events.index("encode 8") < events.index("write 4")
    assert len(list(tmp_path.glob("artefacts/moments/*/moments.safetensors"))) == 3
    assert not list((tmp_path / "claims").glob("*.json"))


def test_reading_speed_is_measured_for_each_number_of_workers(monkeypatch) -> None:
    monkeypatch.setattr(reading, "FILES", 4)
    monkeypatch.setattr(reading, "WORKERS", (0, 1))
    report = reading.measure(batch=2, steps=2, step_seconds=0.05)
    assert [row["workers"] for row in report["rows"]] == [0, 1]
    for row in report["rows"]:
        assert row["pictures_per_second"] > 0
        assert 0 <= row["waited"] <= 1
    assert report["rows"][0]["waited"] > 0.02  # without workers, decoding cannot overlap the pause
