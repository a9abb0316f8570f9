"""Artefacts are stored whole or not at all: under faults, full disks, locked folders, kills and rivals."""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults import FULL, failing, fault_at, outcome

from benchmark.errors import StoreError
from benchmark.store import durable, paths
from benchmark.store.artefacts import Store

KIND, IDENTITY = "picture", {"prompt": "a fish", "seed": 3}
ROOT = Path(__file__).parents[1]


def make(store: Store, identity: dict = IDENTITY) -> None:
    with store.make(KIND, identity, {"time": "today"}) as folder:
        (folder / "inner").mkdir()
        (folder / "a.txt").write_text("first")
        (folder / "inner" / "b.bin").write_bytes(bytes(range(256)))


def whole(store: Store, identity: dict = IDENTITY) -> bool:
    """Found and readable (True) or absent (False); never in between."""
    artefact = store.find(KIND, identity)
    if artefact is None:
        return False
    assert artefact.path("a.txt").read_text() == "first"
    assert artefact.path("inner/b.bin").read_bytes() == bytes(range(256))
    return True


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


# faults at every stage


@pytest.mark.parametrize("error", [KeyboardInterrupt(), FULL], ids=["interrupted", "full"])
def test_a_fault_at_any_stage_leaves_nothing_or_a_whole_artefact(tmp_path, monkeypatch, caplog, error):
    outcomes = []
    for count in range(1, 80):
        home = tmp_path / str(count)
        Store(home).scratch(KIND, IDENTITY)
        with monkeypatch.context() as patch:
            calls = fault_at(count, error, patch)
            met = outcome(lambda home=home: make(Store(home)), StoreError, KeyboardInterrupt)
        store = Store(home)
        outcomes.append((met is not None, whole(store)))
        assert met is not None or whole(store)
        make(store)
        assert whole(store)
        assert all(path.name.startswith(".tmp-") for path in (home / "tmp").iterdir())  # swept when we are dead
        assert not list((home / "scratch" / KIND).iterdir())
        if len(calls) < count:
            break
    assert outcomes[-1] == (False, True)
    assert (True, False) in outcomes
    assert (True, True) in outcomes  # after the rename: whole, though the caller was told of a failure
    assert {"mkdir", "fsync", "rename"} <= set(calls)
    assert not caplog.records


def test_a_fault_at_any_stage_of_replacing_a_file_leaves_the_old_or_the_new(tmp_path, monkeypatch):
    path = tmp_path / "f.json"
    for count in range(1, 20):
        path.write_bytes(b"old")
        with monkeypatch.context() as patch:
            calls = fault_at(count, OSError(errno.EDQUOT, "Disk quota exceeded"), patch)
            met = outcome(lambda: durable.write_bytes(path, b"new"), StoreError)
        assert path.read_bytes() in (b"old", b"new")
        assert list(tmp_path.iterdir()) == [path]
        if len(calls) < count:
            break
        assert f"full while writing {path}" in str(met)
    assert met is None
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),  # safetensors
    ],
)
def test_disk_that_fills_up_inside_the_block_gives_one_sentence(store, error):
    with (
        pytest.raises(StoreError, match=r"^The disk is full while writing .*picture.*PALIMPSEST_HOME"),
        store.make(KIND, IDENTITY),
    ):
        raise error


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_really_full_device_gives_one_sentence(store):
    with pytest.raises(StoreError, match="disk is full"), store.make(KIND, IDENTITY), open("/dev/full", "wb") as file:
        file.write(b"x" * 100_000)


# folders that cannot be written


@contextmanager
def as_root():
    """The rights that this process started with, for as long as it lasts."""
    user = os.geteuid()
    os.seteuid(os.getuid())
    yield
    os.seteuid(user)


@pytest.fixture
def locked(tmp_path_factory):
    """A folder that this process, as an ordinary user, may read but not write."""
    folder = tmp_path_factory.mktemp("locked")
    was_root = os.geteuid() == 0
    os.chmod(folder, 0o555)
    if was_root:  # mode bits do not hold root back
        for parent in list(folder.parents)[:-2]:  # up to the first below the system's folder for such things
            if not parent.stat().st_mode & 0o001:
                os.chmod(parent, 0o711)
        os.seteuid(65534)
    yield folder
    if was_root:
        os.seteuid(0)
    os.chmod(folder, 0o755)


def test_unwritable_folder_gives_an_ordinary_user_one_sentence(locked):
    store = Store(locked / "runs")
    assert store.find(KIND, IDENTITY) is None
    for act in (
        lambda: make(store),
        lambda: store.scratch(KIND, IDENTITY),
        lambda: paths.prepare(locked / "runs", 0),
        lambda: durable.write_bytes(locked / "x", b""),
    ):
        with pytest.raises(
            StoreError, match=rf"^Cannot write {locked}.* \(permission denied\): make {locked} writ[^\n]*$"
        ):
            act()


def test_folder_that_cannot_be_entered_gives_one_sentence(locked):
    with as_root():
        os.chmod(locked, 0o600)
    with pytest.raises(StoreError, match=rf"^Cannot (look into|read) {locked}/runs.* \(permission denied\): make it "):
        Store(locked / "runs").find(KIND, IDENTITY)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EIO])
def test_refusing_file_system_gives_one_sentence(store, monkeypatch, code):
    failing("mkdir", OSError(code, os.strerror(code)), monkeypatch)
    with pytest.raises(StoreError, match=f"^Cannot write .*{KIND}.*{os.strerror(code).lower()}.*PALIMPSEST_HOME"):
        make(store)


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "runs")
    assert store.find(KIND, IDENTITY) is None
    for act in (lambda: make(store), lambda: paths.prepare(store.home, 0)):
        with pytest.raises(StoreError, match=rf"because {tmp_path / 'file'} is not a folder: move it away"):
            act()


def test_an_artefact_that_may_not_be_read_is_not_called_damaged(store, monkeypatch):
    make(store)
    monkeypatch.setattr(Path, "read_bytes", lambda path: (_ for _ in ()).throw(PermissionError(13, "no", str(path))))
    with pytest.raises(StoreError, match=r"Cannot read .* make it readable"):
        store.find(KIND, IDENTITY)


def test_damage_in_a_read_only_home_is_logged_and_not_fatal(store, monkeypatch, caplog):
    make(store)
    (store.find(KIND, IDENTITY).folder / "a.txt").write_text("broken")
    failing("rename", PermissionError(errno.EACCES, "Permission denied"), monkeypatch)
    assert store.find(KIND, IDENTITY) is None
    assert "cannot be moved away" in caplog.text


# leftovers


def test_leftovers_are_removed_if_their_owner_is_dead_or_silent_for_a_day(store):
    make(store)
    with store.make(KIND, {"other": 1}) as mine:
        (mine / "a.txt").write_text("first")
        (mine / "inner").mkdir()
        (mine / "inner" / "b.bin").write_bytes(bytes(range(256)))
        prefix = mine.name.rsplit("-", 2)[0]
        done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        dead = mine.with_name(f"{prefix}-{int(done.stdout)}-0123abcd")
        alive = mine.with_name(f"{prefix}-1-0123abcd")
        elsewhere = mine.with_name(f".tmp-0000ffff-{int(done.stdout)}-0123abcd")
        old = mine.with_name(".tmp-0000ffff-1-0123abcd")
        foreign = mine.with_name(".tmp-notes")  # exports sweep a folder of the user
        for folder in (dead, alive, elsewhere, old, foreign):
            folder.mkdir()
        for folder in (old, foreign):
            os.utime(folder, (time.time() - 90_000,) * 2)
        Store(store.home)
        assert {p.name for p in mine.parent.iterdir()} == {mine.name, alive.name, elsewhere.name, foreign.name}
    assert whole(store, {"other": 1})


def test_a_process_that_has_ended_and_was_not_collected_counts_as_dead() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        os.kill(child, 0)  # it is still in the list of processes
        assert not durable.alive(child)
    finally:
        os.waitpid(child, 0)
    assert durable.alive(os.getpid())
    assert durable.alive(os.getppid())


# real processes

WORKER = """
import sys, time
from contextlib import contextmanager
from pathlib import Path
from benchmark.store.artefacts import Store
home, first, last, slow = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "slow"
store = Store(home)
for number in range(first, last):
    with store.make("picture", {"number": number}) as folder:
        for name in range(8):
            (folder / f"{name}.bin").write_bytes(bytes([number % 256]) * 5000)
        (folder / "a.txt").write_text("first")
        if slow:
            time.sleep(0.01)
    print(number, flush=True)
"""


def worker(home: Path, first: int, last: int, pace: str = "fast") -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(home), str(first), str(last), pace],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_kill_at_any_moment_leaves_finished_artefacts_and_no_partial_ones(tmp_path, caplog):
    printed: set[int] = set()
    for round in range(6):
        process = worker(tmp_path, 100 * round, 100 * round + 100)
        lines = [process.stdout.readline()]
        time.sleep(0.013 * round)
        os.kill(process.pid, signal.SIGKILL)
        lines += process.communicate()[0].splitlines()
        printed |= {int(line) for line in lines if line.strip()}
    store = Store(tmp_path)
    assert len(printed) >= 6
    folders = list((tmp_path / "artefacts" / "picture").iterdir())
    found = {n for n in range(600) if store.find("picture", {"number": n}) is not None}
    assert printed <= found
    assert len(folders) == len(found)
    assert not caplog.records
    assert not list((tmp_path / "tmp").iterdir())


def test_two_processes_making_the_same_artefacts_both_succeed(tmp_path, caplog):
    workers = [worker(tmp_path, 0, 25, "slow") for _ in range(3)]
    for process in workers:
        assert len(process.communicate(timeout=60)[0].splitlines()) == 25
        assert process.returncode == 0
    store = Store(tmp_path)
    assert all(store.find("picture", {"number": number}) for number in range(25))
    assert not caplog.records
    assert not list((tmp_path / "tmp").iterdir())
    assert not (tmp_path / "damaged").exists()
