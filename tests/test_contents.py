"""Input files are identified by their content and read again only when their size or modification time changes."""

import os
from pathlib import Path

import pytest

from benchmark.errors import DataError
from benchmark.store import contents
from benchmark.store.artefacts import Store, key_of
from benchmark.store.unreachable import remove, unreachable

OLD = 1_600_000_000 * 10**9
"""A time of change, in ns, at which nothing changes any more."""


def written(file: Path, data: bytes, time: int = OLD) -> Path:
    file.write_bytes(data)
    os.utime(file, ns=(time, time))
    return file


class Looked:
    """What a look at files read, and found."""

    def __init__(self, home: Path, *files: Path, keep: bool = True) -> None:
        self.read: list[str] = []
        self.found = contents.look(home, files, self._check, "look", keep=keep)

    def _check(self, file: Path, data: bytes) -> None:
        self.read.append(file.name)
        if data == b"bad":
            raise DataError("no good")


def test_unchanged_files_are_not_read_again(tmp_path: Path) -> None:
    a, b = written(tmp_path / "a", b"1"), written(tmp_path / "b", b"2")
    first = Looked(tmp_path / "runs", a, b)
    assert sorted(first.read) == ["a", "b"]
    second = Looked(tmp_path / "runs", b, a)
    assert second.read == []
    assert second.found.sums == first.found.sums
    assert Looked(tmp_path / "elsewhere", a).read == ["a"]


@pytest.mark.parametrize(("data", "time"), [(b"2", OLD + 1), (b"22", OLD), (b"1", OLD + 1)])
def test_changed_size_or_time_triggers_a_read_and_content_sets_the_checksum(
    data: bytes, time: int, tmp_path: Path
) -> None:
    file = written(tmp_path / "a", b"1")
    before = Looked(tmp_path / "runs", file).found.sums[file]
    written(file, data, time)
    again = Looked(tmp_path / "runs", file)
    assert again.read == ["a"]
    assert (again.found.sums[file] == before) == (data == b"1")
    assert Looked(tmp_path / "runs", file).read == []


def test_recently_modified_file_is_read_every_time(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    for _ in range(2):
        assert Looked(tmp_path / "runs", tmp_path / "a").read == ["a"]


def test_broken_files_are_reported_and_read_again(tmp_path: Path) -> None:
    files = [written(tmp_path / "bad", b"bad"), written(tmp_path / "empty", b""), tmp_path / "missing"]
    (tmp_path / "link").symlink_to("nowhere")
    files.append(tmp_path / "link")
    for _ in range(2):
        look = Looked(tmp_path / "runs", *files)
        assert look.read == ["bad"]
        assert look.found.sums == {}
        assert {file.name: why for file, why in look.found.broken.items()} == {
            "bad": "no good", "empty": "it is empty", "missing": "No such file or directory",
            "link": "it is a link to a missing file",
        }  # fmt: skip
    assert {file.name for file in contents.sizes(files)} == {"empty", "missing", "link"}


def test_checksums_with_keep_false_write_nothing(tmp_path: Path) -> None:
    assert Looked(tmp_path / "runs", written(tmp_path / "a", b"1"), keep=False).read == ["a"]
    assert not (tmp_path / "runs").exists()


def test_file_reached_through_a_link_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = written(tmp_path / "a" / "x", b"1")
    (tmp_path / "b").symlink_to("a")
    first = Looked(tmp_path / "runs", file, tmp_path / "b" / "x")
    assert len(set(first.found.sums.values())) == 1
    assert Looked(tmp_path / "runs", tmp_path / "b" / "x").read == []


def test_damaged_checksum_index_is_rebuilt(tmp_path: Path) -> None:
    file = written(tmp_path / "a", b"1")
    first = Looked(tmp_path / "runs", file).found.sums
    (index,) = (tmp_path / "runs" / "checksums").glob("*/index.json")
    for damage in ("", "[]", '{"a": 1}'):
        index.write_text(damage)
        assert Looked(tmp_path / "runs", file).found.sums == first


def test_interrupted_checksums_resume_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "KEPT_EVERY", 2)
    monkeypatch.setattr(contents, "THREADS", 1)
    files = [written(tmp_path / name, name.encode()) for name in "abcd"]

    def stop(file: Path, data: bytes) -> None:
        if data == b"c":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contents.look(tmp_path / "runs", files, stop, "look")
    assert Looked(tmp_path / "runs", *files).read == ["c", "d"]


def test_replaced_checksums_exclude_those_in_use(tmp_path: Path) -> None:
    for now in ("1", "2", "3", "2"):
        contents.note(tmp_path, {"pictures in a": now})
    contents.note(tmp_path, {"pictures in b": "1"})
    assert contents.replaced(tmp_path) == {"3"}
    assert contents.replaced(tmp_path / "empty") == frozenset()


def kept(store: Store, kind: str, identity: dict) -> str:
    with store.make(kind, identity) as folder:
        (folder / "file").write_text("x")
    return key_of(kind, identity)


def test_artefacts_of_replaced_files_and_their_dependents_are_unreachable(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sums = {"old": "11111111111111111111", "new": "22222222222222222222"}
    for name in ("old", "new"):
        model = {"method": "x", "pictures": sums[name]}
        kept(store, "cost", model)  # the weights themselves may be gone
        images = kept(store, "images", {"model": key_of("model", model), "prompts": [["a", 1]]})
        kept(store, "features", {"images": [images], "encoders": {"clip": "c"}})
        kept(store, "features", {"real": "val", "pictures": sums[name]})
    assert unreachable(tmp_path) == []
    contents.note(tmp_path, {"pictures": sums["old"]})
    contents.note(tmp_path, {"pictures": sums["new"]})
    found = unreachable(tmp_path)
    assert sorted(one.kind for one in found) == ["cost", "features", "features", "images"]
    assert all(one.bytes > 0 for one in found)
    for one in found:
        remove(tmp_path, one.folder)
    assert unreachable(tmp_path) == []
    assert len(list((tmp_path / "artefacts").glob("*/*"))) == 4
    assert store.find("features", {"real": "val", "pictures": sums["new"]})
