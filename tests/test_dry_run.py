"""`bench run --dry-run`: the steps of a run, what the store has of them, and that nothing is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from standin import request
from test_cli import bench

from benchmark.cli.dry_run import print_steps
from benchmark.console import Progress
from benchmark.cost.remaining import Preview, Step, preview
from benchmark.errors import BudgetError, PalimpsestError
from benchmark.models import throughput
from benchmark.store.artefacts import Store

HOURS = {"method": "distilled", "suite": "coco", "overrides": {}, "reference": "base"}


def previewed(home: Path, planned: set[str] | None = None, **changes: object) -> Preview:
    with Progress() as progress:
        return preview(request(home, **changes), progress, set() if planned is None else planned)


def step(result: Preview, what: str) -> Step:
    [matching] = [step for step in result.steps if step.what == what]
    return matching


def state(home: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of every file and folder."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in [home, *home.rglob("*")]}


@pytest.fixture
def copied(standin: Path, finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished runs folder."""
    return Path(shutil.copytree(finished, tmp_path / "runs", symlinks=True))


def test_finished_steps_are_done_and_the_folder_is_unchanged(copied: Path) -> None:
    before = state(copied)
    result = previewed(copied)
    assert state(copied) == before
    work = [step for step in result.steps if step.what != "score, write records"]
    assert {step.status for step in work} == {"done"}
    assert [step.what for step in work if step.what.startswith("train")] == ["train distilled", "train bilevel"]
    assert result.hours == 0
    assert result.disk == 0


def test_missing_steps_have_hours_and_disk_and_no_folder_is_created(standin: Path, tmp_path: Path) -> None:
    home = tmp_path / "runs"
    result = previewed(home)
    assert not home.exists()
    for what in ("prune to 80% MACs", "train distilled", "train bilevel", "sample bilevel: artists"):
        assert step(result, what).status == "to do"
        assert step(result, what).disk > 0
    assert step(result, "train bilevel").hours > 0  # type: ignore[operator]
    assert result.hours == pytest.approx(sum(step.hours for step in result.steps))  # type: ignore[misc]


def test_partial_pictures_and_checkpoints_are_counted(copied: Path) -> None:
    whole = previewed(copied)
    store = Store(copied)
    for kind in ("features", "seen", "images", "model", "cost"):
        for folder in sorted((copied / "artefacts" / kind).iterdir()):
            text = (folder / "artefact.json").read_text()
            if kind in ("model", "cost") and '"method": "bilevel"' not in text:
                continue
            shutil.rmtree(folder)
            if kind == "images":
                break  # only one shard of ten pictures
    key = step(whole, "train bilevel").key
    checkpoint = store.home / "scratch" / "model" / key / "checkpoint-000002"
    checkpoint.mkdir(parents=True)
    (checkpoint / "meta.json").write_text('{"step": 2}')
    result = previewed(copied)
    assert step(result, "train bilevel").status.startswith("resumes after step 2 of ")
    assert 0 < step(result, "train bilevel").left < 1
    partial = [step for step in result.steps if "pictures are there" in step.status and "of" in step.status]
    assert len(partial) == 1
    assert {step.status for step in result.steps if step.what.startswith("sample") and step not in partial} == {
        "pictures are there, features to do"
    }
    assert step(result, "train distilled").status == "done"


def test_steps_of_several_runs_are_counted_once(standin: Path, tmp_path: Path) -> None:
    planned: set[str] = set()
    previewed(tmp_path / "runs", planned)
    second = previewed(tmp_path / "runs", planned, method="uce", overrides={})
    assert step(second, "train distilled").status == "done by a run above"
    assert step(second, "train distilled").hours == 0
    assert step(second, "sample base: artists").status == "done by a run above"
    assert step(second, "train uce").status == "to do"


def test_a_budget_in_hours_is_not_measured(standin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "_measure_speed", lambda *_arguments: pytest.fail("a speed is measured"))
    result = previewed(tmp_path / "runs", budget="1h", **HOURS)
    assert any("budget in hours" in note for note in result.notes)


@pytest.mark.parametrize(
    "changes",
    [{"budget": "1e3"}, {"overrides": {"nonsense": 1}}, {"preset": "nonsense"}, {"suite": "nonsense"}],
    ids=str,
)
def test_what_a_run_refuses_is_refused(changes: dict[str, object], standin: Path, tmp_path: Path) -> None:
    with pytest.raises(PalimpsestError):
        previewed(tmp_path / "runs", **changes)
    assert not (tmp_path / "runs").exists()


def test_a_budget_that_is_too_small_for_one_method_does_not_hide_the_others(
    standin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, enough = request(tmp_path / "runs", budget="1e3"), request(tmp_path / "runs", **HOURS)
    print_steps([small, enough])
    text = capsys.readouterr().out
    assert "cannot run" in text
    assert "train distilled" in text
    assert "Nothing was written" in text
    with pytest.raises(BudgetError):
        print_steps([small])


def test_an_unwritable_place_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = bench("run", "--method", "uce", "--suite", "artists", "--dry-run", "--runs", tmp_path / "file" / "runs")
    assert result.exit_code == 2 or "not a folder" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_launcher_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    result = bench("run", "--method", "uce", "--suite", "artists", "--dry-run", "--runs", tmp_path)
    assert result.exit_code == 2
    assert "without the launcher" in result.stderr
