"""The store: saved artefacts are found again unchanged, and damaged ones are detected."""

import json
import logging
import os
from pathlib import Path

import pytest

from benchmark.errors import DataError, StoreError
from benchmark.store import paths
from benchmark.store.artefacts import Store, key_of

KIND, IDENTITY = "picture", {"prompt": "a fish", "seed": 3}
ROOT = Path(__file__).parents[1]


def fill(folder: Path, tag: str = "") -> None:
    (folder / "inner").mkdir()
    (folder / "a.txt").write_text(f"first {tag}")
    (folder / "inner" / "b.bin").write_bytes(bytes(range(256)))


def make(store: Store, identity: dict = IDENTITY, tag: str = "") -> None:
    with store.make(KIND, identity, {"time": "today"}) as folder:
        fill(folder, tag)


def whole(store: Store, identity: dict = IDENTITY) -> bool:
    """Found and readable (True) or absent (False); never in between, and found without a complaint."""
    artefact = store.find(KIND, identity)
    if artefact is None:
        return False
    assert artefact.path("a.txt").read_text().startswith("first")
    assert artefact.path("inner/b.bin").read_bytes() == bytes(range(256))
    return True


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


# identity


def test_keys_are_stable_across_versions():
    identity = {"b": 1, "a": [1.5, None, True, "ü"], "c": {"x": 0.1}}
    assert key_of("unet", identity) == "f9a94f2cdc54ebb9943e"
    assert key_of("unet", dict(reversed(identity.items()))) == key_of("unet", identity)


def test_keys_differ_where_values_differ_only_in_type_or_kind():
    keys = [key_of("unet", {"x": x}) for x in (1, 1.0, True, "1", None, [1], 1.0000000000000002)]
    assert len({*keys, key_of("vae", {"x": 1})}) == len(keys) + 1


@pytest.mark.parametrize("value", [(1, 2), {1}, b"x", Path("x"), 1j, {1: 2}, [object()], type("S", (str,), {})("x")])
def test_values_without_a_canonical_form_are_refused(value):
    with pytest.raises(TypeError, match=r"value\.identity\.x"):
        key_of("unet", {"x": value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_or_infinity_in_an_identity_is_refused(value):
    with pytest.raises(ValueError, match="finite"):
        key_of("unet", {"x": [value]})


@pytest.mark.parametrize("kind", ["", "../x", "a/b", "A", ".tmp"])
def test_kind_that_is_not_a_plain_folder_name_is_refused(kind):
    with pytest.raises(ValueError, match="kind"):
        key_of(kind, {})


# the ordinary way


def test_artefact_is_found_with_its_identity_files_and_metadata(store):
    assert store.find(KIND, IDENTITY) is None
    made = {}
    with store.make(KIND, IDENTITY, made) as folder:
        fill(folder)
        made["ledger"] = [{"flops": 12}]
    artefact = Store(store.home).find(KIND, IDENTITY)
    assert artefact.folder == store.home / "artefacts" / KIND / key_of(KIND, IDENTITY)
    assert artefact.identity == IDENTITY
    assert artefact.made == {"ledger": [{"flops": 12}]}
    assert artefact.files["a.txt"]["bytes"] == 6
    assert sorted(artefact.files) == ["a.txt", "inner/b.bin"]
    assert store.has(KIND, IDENTITY)
    assert not store.has(KIND, {**IDENTITY, "seed": 4})
    with pytest.raises(DataError, match=r"no file 'c\.txt'; it has a\.txt"):
        artefact.path("c.txt")


def test_find_in_an_empty_store_writes_nothing(store):
    assert store.find(KIND, IDENTITY) is None
    assert not store.has(KIND, IDENTITY)
    assert not store.home.exists()


def test_failed_make_block_leaves_no_files(store):
    def half() -> None:
        with store.make(KIND, IDENTITY) as folder:
            fill(folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert store.find(KIND, IDENTITY) is None
    assert not list((store.home / "tmp").iterdir())


def test_artefact_without_files_is_refused(store):
    with pytest.raises(ValueError, match="nothing was written"), store.make(KIND, IDENTITY):
        pass


def test_errors_inside_a_make_block_pass_through_unchanged(store):
    with pytest.raises(FileNotFoundError, match="no-such"), store.make(KIND, IDENTITY):
        Path("no-such-file").read_bytes()


def test_scratch_folder_survives_a_failed_make_and_is_removed_after_success(store):
    scratch = store.scratch(KIND, IDENTITY)
    (scratch / "half").write_text("x")
    with pytest.raises(RuntimeError), store.make(KIND, IDENTITY):
        raise RuntimeError
    assert (store.scratch(KIND, IDENTITY) / "half").exists()
    make(store)
    assert not scratch.exists()


def test_scratch_of_a_finished_artefact_is_cleared_at_the_next_start(store):
    make(store)
    scratch = store.scratch(KIND, IDENTITY)
    other = store.scratch(KIND, {"not": "made yet"})
    Store(store.home)
    assert not scratch.exists()
    assert other.exists()


# shipped layers


def shipped_layer(tmp_path: Path) -> Path:
    make(Store(tmp_path / "builder"), tag="shipped")
    return tmp_path / "builder" / "artefacts"


def test_shipped_artefacts_are_read_only_and_come_after_those_in_home(tmp_path):
    layer = shipped_layer(tmp_path)
    before = sorted(layer.rglob("*"))
    store = Store(tmp_path / "home", shipped=[layer])
    assert store.find(KIND, IDENTITY).path("a.txt").read_text() == "first shipped"
    assert store.has(KIND, IDENTITY)
    assert not store.home.exists()
    make(store, tag="own")
    assert store.find(KIND, IDENTITY).path("a.txt").read_text() == "first own"
    assert sorted(layer.rglob("*")) == before


def test_damaged_shipped_artefact_is_skipped_with_one_warning(tmp_path, caplog):
    layer = shipped_layer(tmp_path)
    (layer / KIND / key_of(KIND, IDENTITY) / "a.txt").write_text("FIRST shipped")
    store = Store(tmp_path / "home", shipped=[layer])
    assert store.find(KIND, IDENTITY) is None
    assert len(caplog.records) == 1
    make(store)
    assert whole(store)


# damage


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda f: (f / "a.txt").write_text("First "), "a.txt does not match its checksum"),
        (lambda f: os.truncate(f / "inner" / "b.bin", 17), "has 17 bytes instead of 256"),
        (lambda f: os.unlink(f / "a.txt"), "a.txt is missing"),
        (lambda f: os.unlink(f / "artefact.json"), "artefact.json is missing"),
        (lambda f: os.truncate(f / "artefact.json", 40), "artefact.json cannot be read"),
        (lambda f: (f / "artefact.json").write_text("[]"), "not an object"),
        (
            lambda f: (f / "artefact.json").write_text((f / "artefact.json").read_text().replace("today", "later")),
            "its own checksum",
        ),
    ],
)
def test_damaged_artefact_is_set_aside_with_one_warning_and_replaced(store, caplog, harm, why):
    make(store)
    assert whole(store)
    harm(store.find(KIND, IDENTITY).folder)
    for round in (1, 2):
        assert store.find(KIND, IDENTITY) is None
        assert [why in record.getMessage() for record in caplog.records] == [True]
        assert round == 1 or list((store.home / "damaged").iterdir())
    make(store)
    assert whole(store)


def test_repeated_damage_does_not_overwrite_earlier_damaged_copies(store, caplog):
    for _ in range(3):
        make(store)
        (store.find(KIND, IDENTITY).folder / "a.txt").write_text("broken")
        assert store.find(KIND, IDENTITY) is None
    assert len(list((store.home / "damaged").iterdir())) == 3


def test_flipped_bytes_are_detected(store, caplog):
    caplog.set_level(logging.CRITICAL)
    make(store)
    folder = store.find(KIND, IDENTITY).folder
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        good = path.read_bytes()
        for index in range(0, len(good), 7):
            path.write_bytes(good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :])
            artefact = store.find(KIND, IDENTITY)
            assert artefact is None, (path.name, index)
            (next((store.home / "damaged").iterdir())).rename(folder)
            path.write_bytes(good)
    assert whole(store)


def test_make_replaces_a_damaged_artefact_without_a_previous_find(store, caplog):
    make(store)
    (store.home / "artefacts" / KIND / key_of(KIND, IDENTITY) / "a.txt").write_text("broken")
    make(store)
    assert whole(store)
    assert len(caplog.records) == 1


def test_artefact_of_a_newer_schema_is_refused_and_preserved(store):
    make(store)
    manifest = store.find(KIND, IDENTITY).folder / "artefact.json"
    manifest.write_text(json.dumps({"schema": 7}))
    sentence = r"written by a newer version of palimpsest \(schema 7, this version reads 1\): update"
    for act in (lambda: store.find(KIND, IDENTITY), lambda: make(store)):
        with pytest.raises(StoreError, match=sentence):
            act()
    assert manifest.exists()


# paths


@pytest.fixture(params=["chosen", "default"])
def home_named(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if request.param == "chosen":
        monkeypatch.setenv("PALIMPSEST_HOME", str(tmp_path / "elsewhere"))
        return tmp_path / "elsewhere"
    monkeypatch.delenv("PALIMPSEST_HOME", raising=False)
    return Path("runs")


def test_runs_folder_follows_palimpsest_home_or_defaults_to_runs(home_named):
    assert paths.home() == home_named
    assert paths.prepare(paths.home(), 1) == home_named
    assert list(home_named.iterdir()) == []
    assert paths.records_folder(home_named).parent == home_named


def test_insufficient_disk_space_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"needs about 1\.0 EB in .*, and the disk has .* free: free some space"):
        paths.prepare(tmp_path, 10**18)
