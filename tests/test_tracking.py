"""`--track`: what a service receives, and that its failures and its absence change nothing of a run."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate.tracking import GeneralTracker
from standin import request
from test_cli import bench

from benchmark.api.request import RunRequest
from benchmark.cli.run import Service as Choice
from benchmark.console import Progress, console_on
from benchmark.errors import UsageError
from benchmark.pipeline import run, tracked
from benchmark.records.record import Record, read_records
from benchmark.tracking import services
from benchmark.tracking.service_tracker import ServiceTracker
from benchmark.tracking.services import SERVICES, TensorBoard, check_installed
from benchmark.tracking.tracker import Tracker, without_folders

ROOT = Path(__file__).parents[1]
FEW = {"batch": 4}


class Kept(GeneralTracker):
    """Keeps what it receives; raises in the method named `breaks`."""

    name = "kept"
    requires_logging_directory = False

    def __init__(self, breaks: str = "") -> None:
        super().__init__()
        self.breaks = breaks
        self.config: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.calls: list[str] = []

    def _enter(self, name: str) -> None:
        self.calls.append(name)
        if name == self.breaks:
            raise ConnectionError(f"no server for {name}\nsecond line")

    @property
    def tracker(self) -> None:
        return None

    def start(self) -> None:
        self._enter("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._enter("settings")
        self.config |= values

    def log(self, values: dict[str, Any], step: int | None = None, **_more: Any) -> None:
        self._enter("log")
        self.rows.append(values)

    def finish(self) -> None:
        self._enter("finish")


class KeptService(services.Service):
    """A service whose tracker is `Kept`."""

    name = "kept"

    def __init__(self, breaks: str = "") -> None:
        super().__init__()
        self.kept = Kept(breaks)
        self.sent_pictures: dict[str, list[np.ndarray]] = {}

    def create(self, run_name: str, run_id: str, folder: Path, config: Any) -> GeneralTracker:
        return self.kept

    def place(self, run_name: str, folder: Path) -> str:
        return f"[{run_name}]"

    def pictures(self, name: str, pictures: Any) -> None:
        self.kept._enter("pictures")
        self.sent_pictures[name] = list(pictures)


def tracked_run(home: Path, service: services.Service, **changes: Any) -> tuple[list[Record], str]:
    """Run with this service; return the records and what was printed."""
    with (home.parent / "printed.txt").open("w+", encoding="utf-8") as file:
        with Progress(console_on(file)) as progress:
            records, *_ = run.run(request(home, **changes), progress, ServiceTracker(service, progress))
        file.seek(0)
        return records, file.read()


@pytest.fixture
def copied(standin: Path, finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished runs folder, in which a run computes nothing again."""
    return Path(shutil.copytree(finished, tmp_path / "runs", symlinks=True))


def comparable(records: list[Record]) -> list[dict[str, Any]]:
    """Return the records without times."""
    rows = [json.loads(record.model_dump_json(exclude={"made"})) for record in records]
    for row in rows:
        for entry in row["ledger"]:
            for key in ("wall_seconds", "device_seconds", "peak_memory_bytes"):
                entry.pop(key)
    return rows


def test_tensorboard_receives_losses_rates_settings_scores_and_pictures(standin: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    home = tmp_path / "runs"
    records, printed = tracked_run(home, TensorBoard())
    [folder] = [path for path in (home / "tracking" / "tensorboard").iterdir() if path.name != "ids"]
    assert str(folder) in printed.replace("\n", "")
    events = EventAccumulator(str(folder))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    method = records[-1].label
    assert {f"{method}/lower/loss", f"{method}/lower/learning rate", "distilled/lower/loss"} <= scalars
    own = [record for record in records if record.label == records[-1].label]
    scores = {f"scores/{record.suite}/{name}": cell for record in own for name, cell in record.cells.items()}
    for name, cell in scores.items():
        if cell.value is not None:
            [event] = events.Scalars(name)
            assert event.value == pytest.approx(cell.value, rel=1e-6)
    steps = [event.step for event in events.Scalars(f"{method}/lower/loss")]
    assert steps == sorted(set(steps))
    assert "pictures/artists" in {tag.rpartition("/")[0] or tag for tag in events.Tags()["images"]} | set(
        events.Tags()["images"]
    )
    [settings] = folder.rglob("hparams.yml")
    assert "method: bilevel" in settings.read_text()
    assert str(tmp_path) not in settings.read_text()


@pytest.mark.parametrize("breaks", ["start", "settings", "log", "pictures", "finish"])
def test_a_service_that_fails_changes_no_record_and_is_reported_once(breaks: str, copied: Path) -> None:
    expected = {record.stem: record for record in read_records([copied / "records"])}
    service = KeptService(breaks)
    records, printed = tracked_run(copied, service)
    assert comparable(records) == comparable([expected[record.stem] for record in records])
    assert printed.count("tracking stopped: ConnectionError: no server") == 1
    assert "second line" not in printed
    assert service.kept.calls.count(breaks) == 1
    assert service.kept.calls[-1] == breaks, "nothing is sent after an error"


def test_a_repeated_run_continues_the_same_run_of_the_service(copied: Path) -> None:
    ids: list[str] = []

    class Remembering(KeptService):
        def create(self, run_name: str, run_id: str, folder: Path, config: Any) -> GeneralTracker:
            ids.append(f"{run_name} {run_id}")
            return super().create(run_name, run_id, folder, config)

    first = Remembering()
    tracked_run(copied, first)
    second = Remembering()
    _, printed = tracked_run(copied, second)
    assert ids[0] == ids[1]
    assert "continued" in printed
    assert first.kept.config["method"] == "bilevel"
    assert second.kept.config == {}, "the settings are sent once"


def test_explicit_pictures_are_never_sent(standin: Path, tmp_path: Path) -> None:
    service = KeptService()
    tracked_run(tmp_path / "runs", service, suite="i2p", method="distilled", reference="base", overrides=FEW)
    assert list((tmp_path / "runs").rglob("explicit-images/*/*.png"))
    assert set(service.sent_pictures) == {"pictures/coco"}
    assert any(name.startswith("scores/i2p/") for row in service.kept.rows for name in row)


def test_pictures_that_link_into_the_explicit_store_are_not_read(tmp_path: Path) -> None:
    from PIL import Image
    from test_records import record

    folder = tmp_path / "images" / "x" / "artists"
    folder.mkdir(parents=True)
    for kind in ("images", "explicit-images"):
        shard = tmp_path / "artefacts" / kind / "key"
        shard.mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(shard / "00.png")
        (folder / f"{kind}.png").symlink_to(shard / "00.png")
    pictures = tracked._pictures(record(images="images/x/artists"), tmp_path)
    assert len(pictures) == 1


def test_tracking_is_no_part_of_store_keys(copied: Path) -> None:
    before = {str(path) for path in copied.glob("artefacts/*/*")}
    tracked_run(copied, KeptService())
    assert {str(path) for path in copied.glob("artefacts/*/*")} == before


def test_runs_with_different_settings_have_different_names() -> None:
    plain = RunRequest("bilevel", "artists")
    names = [tracked.run_name(changed) for changed in (plain, replace(plain, seed=1), replace(plain, macs=0.5))]
    assert len(set(names)) == 3
    assert tracked.run_name(replace(plain, device="cpu", runs=Path("elsewhere"))) == names[0]


def test_settings_of_a_run_contain_no_folders() -> None:
    config = tracked.settings(
        RunRequest("/a/folder/my.py:Eraser", "/a/folder/boat.toml", overrides={"rate": 0.1}, runs=Path("/x"))
    )
    assert config["method"] == "my.py:Eraser"
    assert config["suite"] == "boat.toml"
    assert config["set/rate"] == "0.1"
    assert "/" not in "".join(str(value) for value in config.values())
    label = "/a/folder/my.py:Eraser (objective=~/x/loss.py:Loss,rate=0.1)"
    assert without_folders(label) == "my.py:Eraser (objective=loss.py:Loss,rate=0.1)"
    assert without_folders("bilevel (seed 1)") == "bilevel (seed 1)"


def test_a_missing_package_is_refused_before_the_run_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(services, "find_spec", lambda name: None)
    for name in SERVICES:
        with pytest.raises(UsageError, match=f"uv sync --extra {name}"):
            check_installed(name)
    result = bench("run", "--method", "uce", "--suite", "artists", "--track", "wandb", "--runs", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_named_like_a_package_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "trackio").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    if services.find_spec("trackio").origin is None:  # type: ignore[union-attr]
        with pytest.raises(UsageError, match="trackio"):
            check_installed("trackio")


def test_choices_of_the_option_are_the_services() -> None:
    assert {str(choice) for choice in Choice} == set(SERVICES)


def test_the_base_class_discards_everything(tmp_path: Path) -> None:
    tracker = Tracker()
    tracker.start("run", {}, tmp_path)
    tracker.pictures("x", lambda: pytest.fail("pictures are not read"))
    tracker.finish()
    assert not tracker.active
    assert list(tmp_path.iterdir()) == []


def test_no_tracking_package_is_imported_without_the_option(warm_python: str, tmp_path: Path) -> None:
    names = tuple(SERVICES)
    code = f"""
import sys
import benchmark.cli.app
print(sorted(set({names!r}) & set(sys.modules)))
sys.path.insert(0, {str(ROOT / "tests")!r})
from pathlib import Path
from standin import install, whole, write_weights
weights = write_weights(Path({str(tmp_path / "weights")!r}))
install(weights)
whole(Path({str(tmp_path / "runs")!r}), suite="coco", method="distilled", reference="base", overrides={FEW!r})
print(sorted(set({names!r}) & set(sys.modules)))
"""
    done = subprocess.run([warm_python, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"], done.stdout
