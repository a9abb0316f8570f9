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

BILEVEL = "bilevel (batch=4,lower_steps=2)"
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
    assert [step.what for step in work if step.what.startswith("train")] == ["train distilled", f"train {BILEVEL}"]
    assert result.hours == 0
    assert result.disk == 0


def test_missing_steps_have_hours_and_disk_and_no_folder_is_created(standin: Path, tmp_path: Path) -> None:
    home = tmp_path / "runs"
    result = previewed(home, budget="1e12")
    assert not home.exists()
    for what in ("prune to 80% MACs", "train distilled", f"train {BILEVEL}", f"sample {BILEVEL}: artists"):
        assert step(result, what).status == "to do"
        assert step(result, what).disk > 0
    assert step(result, f"train {BILEVEL}").hours > 0  # type: ignore[operator]
    assert result.hours == pytest.approx(sum(step.hours for step in result.steps))  # type: ignore[misc]


def test_pictures_that_are_there_are_counted(copied: Path) -> None:
    for kind in ("features", "seen"):
        shutil.rmtree(copied / "artefacts" / kind)
    shutil.rmtree(next(iter(sorted((copied / "artefacts" / "images").iterdir()))))
    result = previewed(copied)
    sampled = [step for step in result.steps if step.what.startswith("sample")]
    [partial] = [step for step in sampled if step.status != "pictures are there, features to do"]
    assert partial.status in ("14 of 24 pictures are there", "20 of 24 pictures are there") or partial.status.endswith(
        " of 12 pictures are there"
    )
    assert partial.disk > 0
    assert step(result, "train distilled").status == "done"


def test_an_interrupted_training_has_the_hours_of_its_remaining_steps(standin: Path, tmp_path: Path) -> None:
    home = tmp_path / "runs"
    given = {"budget": "12it", "alone": True}
    whole = step(previewed(home, **given), f"train {BILEVEL}")
    checkpoint = home / "scratch" / "model" / whole.key / "checkpoint-000002"
    checkpoint.mkdir(parents=True)
    (checkpoint / "meta.json").write_text('{"step": 3}')
    resumed = step(previewed(home, **given), f"train {BILEVEL}")
    assert resumed.status == "resumes after step 3 of 12"
    assert whole.hours is not None
    assert resumed.hours == pytest.approx(whole.hours * 9 / 12)


def test_steps_of_several_runs_are_counted_once(standin: Path, tmp_path: Path) -> None:
    planned: set[str] = set()
    first = previewed(tmp_path / "runs", planned)
    assert step(first, "train distilled").status == "to do"
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
