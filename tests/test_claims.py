"""Claims: each artefact is made by one process, others wait for it, and stale claims are taken over."""

import json
import os
import subprocess
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from faults import dead_name
from standin import whole
from test_run import same, without

from benchmark.console import Progress
from benchmark.generation import images
from benchmark.store import claims
from benchmark.store.artefacts import Store, key_of
from benchmark.store.claims import Claim, Holder, making, remove_finished, take

IDENTITY = {"model": "a"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def holding(store: Store, **changes: Any) -> Path:
    """A claim on `IDENTITY` as another process would have written it."""
    path = store.claim_path("model", IDENTITY)
    path.parent.mkdir(parents=True, exist_ok=True)
    told = json.loads(Claim(path, "train esd").text())
    path.write_text(json.dumps({**told, "pid": os.getppid(), "group": "other", "token": "other", **changes}))
    return path


def dead_pid() -> int:
    return int(dead_name().split("-")[2])


def test_holder_of_a_claim_is_named_and_the_claim_ends_with_its_block(store: Store) -> None:
    holding(store, host="node7", since="2026-01-02 03:04:05 UTC", status="train esd 3/9 it")
    found = take(store, "model", IDENTITY, "train esd", Progress())
    assert isinstance(found, Holder)
    assert str(found) == f"process {os.getppid()} on node7, started 2026-01-02 03:04:05 UTC"
    assert found.status == "train esd 3/9 it"

    other = take(store, "model", {"model": "b"}, "train uce", Progress())
    assert isinstance(other, Claim)
    with other:
        assert other.path is not None
        assert json.loads(other.path.read_text())["pid"] == os.getpid()
    assert not other.path.exists()


@pytest.mark.parametrize(
    ("changes", "age", "said"),
    [
        ({"pid": None}, 0, "was killed"),  # of this machine: its process is dead
        ({"machine": "elsewhere"}, claims.STALE + 60, "has not responded for 1"),
        ({}, claims.STALE + 60, "has not responded for 1"),  # its number is another process's now
    ],
)
def test_claim_of_a_dead_or_silent_process_is_taken_over(
    store: Store, changes: dict[str, Any], age: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = holding(store, **{key: dead_pid() if value is None else value for key, value in changes.items()})
    os.utime(path, (time.time() - age,) * 2)
    claim = take(store, "model", IDENTITY, "train esd", Progress())
    assert isinstance(claim, Claim)
    with claim:
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()
    told = capsys.readouterr().err
    assert said in told
    assert "train esd: process" in told
    assert "this run takes over" in told


def test_claim_of_a_process_that_died_just_after_it_saved_its_artefact_is_removed(store: Store) -> None:
    with store.make("model", IDENTITY) as folder:
        (folder / "weights").write_text("saved")
    path = holding(store)
    remove_finished(store)
    assert path.exists()  # its process is alive
    holding(store, pid=dead_pid())
    remove_finished(store)
    assert not path.exists()


def test_fresh_claim_of_another_machine_holds(store: Store) -> None:
    holding(store, machine="elsewhere", pid=dead_pid())
    assert isinstance(take(store, "model", IDENTITY, "train esd", Progress()), Holder)


def test_held_claim_is_refreshed_and_one_taken_over_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.02)
    progress = Progress()
    claim = take(store, "model", IDENTITY, "train esd", progress)
    assert isinstance(claim, Claim)
    assert claim.path is not None
    os.utime(claim.path, (0, 0))
    with claim, progress.stage("train esd", total=9) as stage:
        stage.advance(4)
        until = time.monotonic() + 10
        while "train esd 4/9 it" not in claim.path.read_text() and time.monotonic() < until:
            time.sleep(0.02)
        assert "train esd 4/9 it" in claim.path.read_text()
        assert claim.path.stat().st_mtime > time.time() - 60
        claim.path.unlink()
        holding(store)  # it was void for a while, and another process has taken it
        time.sleep(0.1)
    assert json.loads(claim.path.read_text())["token"] == "other"


def test_waiting_process_names_the_holder_and_uses_its_artefact(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claims, "POLL", 0.01)
    path, began = holding(store, host="node7"), Event()

    def other() -> None:
        began.wait(10)
        with Store(store.home).make("model", IDENTITY) as folder:
            (folder / "weights").write_text("theirs")
        path.unlink()

    thread = Thread(target=other)
    thread.start()
    monkeypatch.setattr(claims.time, "sleep", lambda seconds: began.set())
    with making(store, "model", IDENTITY, "train esd", Progress()) as artefact:
        assert artefact is not None
        assert artefact.path("weights").read_text() == "theirs"
    thread.join()
    told = capsys.readouterr().err
    assert f"train esd: another run (process {os.getppid()} on node7, started" in told
    assert told.count("waiting for it") == 1


def test_unwritable_claims_folder_does_not_stop_work(store: Store) -> None:
    store.home.joinpath("claims").write_text("in the way")
    with making(store, "model", IDENTITY, "train esd", Progress()) as artefact:
        assert artefact is None


def test_nested_claim_of_one_process_does_not_wait_for_itself(store: Store) -> None:
    with making(store, "model", IDENTITY, "x", Progress()), making(store, "model", IDENTITY, "x", Progress()) as inner:
        assert inner is None
    assert not store.claim_path("model", IDENTITY).exists()


@pytest.mark.usefixtures("standin")
def test_shards_claimed_by_another_run_come_last_and_are_sampled_once(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other run keeps its shard while this one samples all others, and has made it then."""
    home = without(finished, tmp_path / "home", "images")
    made: list[str] = []
    waited: list[float] = []
    real = images._make

    def make(bench: Any, model: Any, generate: Any, shard: Any, kind: str) -> None:
        identity = images.shard_identity(bench, model, shard)
        made.append(key_of(kind, identity))
        if not held and len(made) == 1:
            later = asked[1]
            held.append(bench.store.claim_path(kind, images.shard_identity(bench, model, later)))
            told = json.loads(Claim(held[0], "sample").text())
            held[0].write_text(json.dumps({**told, "pid": os.getppid(), "group": "other", "token": "other"}))
            finish.append(lambda: real(bench, model, generate, later, kind))
        real(bench, model, generate, shard, kind)

    held: list[Path] = []
    finish: list[Any] = []
    asked: list[Any] = []
    sample = images._sample

    def sampled(bench: Any, model: Any, todo: Any, *more: Any) -> None:
        asked[:] = todo
        sample(bench, model, todo, *more)

    def end(seconds: float) -> None:
        """The other run ends its shard."""
        waited.append(seconds)
        finish.pop()()
        held[0].unlink()

    monkeypatch.setattr(images, "_sample", sampled)
    monkeypatch.setattr(images, "_make", make)
    monkeypatch.setattr(images, "sleep", end)
    whole(home, alone=True)
    same(home, finished)
    assert len(waited) == 1
    assert len(made) == len(set(made))
    assert held[0].stem.removeprefix("images-") not in made
    assert capsys.readouterr().err.count("is sampling some of the images; this run samples the others") == 1


TWICE = """
import sys
from pathlib import Path

import standin
from benchmark.generation import images
from benchmark.store.artefacts import key_of

weights, home, log = map(Path, sys.argv[1:4])
standin.install(weights)
make = images._make


def logged(bench, model, generate, shard, kind):
    with open(log, "a") as file:
        print(key_of(kind, images.shard_identity(bench, model, shard)), file=file)
    make(bench, model, generate, shard, kind)


images._make = logged
print("ready", flush=True)
sys.stdin.readline()
standin.whole(home)
"""


def test_two_identical_runs_at_once_make_each_artefact_once(
    weights: Path, finished: Path, warm_python: str, tmp_path: Path
) -> None:
    """Two processes from an empty folder: one process's results, and each picture and model made by one of them."""
    home, log = tmp_path / "home", tmp_path / "made"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    command = [warm_python, "-c", TWICE, str(weights), str(home), str(log)]
    given: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    runs = [subprocess.Popen(command, env=environment, text=True, **given) for _ in range(2)]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("\n")
        run.stdin.flush()
    messages = [run.communicate(timeout=300)[1] for run in runs]
    for run, text in zip(runs, messages, strict=True):
        assert run.returncode == 0, text[-3000:]
    same(home, finished)
    made = log.read_text().split()
    assert len(made) == len(set(made))
    trained = [line for text in messages for line in text.splitlines() if line.startswith("✓ train")]
    assert sorted(line.split()[2] for line in trained) == ["bilevel", "distilled"]
    assert any("is computing this; waiting" in text or "is sampling some of the images" in text for text in messages)
    assert not list((home / "claims").iterdir())
