"""Free disk space is checked before a run begins and again before each stage."""

import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standin import request, whole
from test_run import same, without
from typer.testing import CliRunner

from benchmark.api.request import RunRequest
from benchmark.cli.app import app
from benchmark.console import Progress
from benchmark.cost import confirm, devices
from benchmark.cost.estimate import Speeds, estimate
from benchmark.cost.testbed_facts import read_facts
from benchmark.errors import StoreError
from benchmark.pipeline import run
from benchmark.pipeline.setup import workbench_for
from benchmark.store import checkpoints, disk

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Says how many bytes every disk has free."""

    def set_free(count: float) -> None:
        monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: Usage(10**15, 0, int(count)))

    return set_free


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """What is asked of the disk, in order; the 300 MB of any run left out."""
    found: list[tuple[str, float]] = []
    check = disk.check

    def watched(needs: Any, what: str) -> None:
        found.append((what, sum(needs.values())))
        check(needs, what)

    monkeypatch.setattr(disk, "check", watched)
    monkeypatch.setattr(run, "DISK_NEEDED", 0)
    return found


def test_space_needed_on_one_disk_is_summed(tmp_path: Path, free: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {tmp_path / "artefacts": 700.0, tmp_path / "scratch" / "deeper": 400.0}
    free(1100)
    disk.check(needs, "This run")
    free(1099)
    with pytest.raises(StoreError, match=r"^This run needs about 1\.1 kB in .*artefacts and .*deeper, and the disk"):
        disk.check(needs, "This run")
    free(700)
    monkeypatch.setattr(disk, "_device", lambda folder: len(folder.name))  # two disks
    disk.check(needs, "This run")
    free(399)
    with pytest.raises(StoreError, match=r"needs about 700 bytes in .*artefacts, and the disk has 399 bytes free"):
        disk.check(needs, "This run")


def test_a_link_to_another_disk_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "scratch").symlink_to(tmp_path / "elsewhere")
    looked: list[Path] = []
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: looked.append(path) or Usage(1, 0, 10))
    disk.check({tmp_path / "scratch" / "model": 1.0}, "This run")
    assert looked == [tmp_path / "elsewhere"]


@pytest.mark.usefixtures("standin")
def test_run_too_large_for_its_disk_is_refused_before_training(
    tmp_path: Path, free: Callable, asked: list[tuple[str, float]]
) -> None:
    free(1e6)
    with pytest.raises(StoreError, match="This run needs about"):
        whole(tmp_path)
    [needed] = [count for what, count in asked if what == "This run"]
    assert needed > 1e6
    assert not [path for path in tmp_path.glob("artefacts/*/*") if path.parent.name not in ("pruned", "latents")]
    free(needed - 1)
    with pytest.raises(StoreError, match="This run needs about"):
        whole(tmp_path)


@pytest.mark.usefixtures("standin")
def test_each_stage_checks_the_space_that_it_needs(
    finished: Path, tmp_path: Path, asked: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = without(finished, tmp_path / "home")
    whole(home, alone=True)
    said = [what for what, _ in asked]
    assert said[0] == "This command"
    assert said[1:3] == ["This run", "Training bilevel"]
    assert said[3].startswith("Sampling bilevel")
    needed = dict(asked)
    # Before pruning, its share of weights is taken for its share of MACs.
    assert needed["This run"] == pytest.approx(needed["Training bilevel"] + needed[said[3]], rel=0.2)
    same(home, finished)

    home = without(finished, tmp_path / "other")
    calls = iter([1e9, 1e9, needed["Training bilevel"] - 1])  # another's files fill the disk after the start
    usage = lambda path: Usage(10**15, 0, int(next(calls)))  # noqa: E731
    monkeypatch.setattr(disk.shutil, "disk_usage", usage)
    with pytest.raises(StoreError, match="Training bilevel needs about"):
        whole(home, alone=True)


@pytest.mark.usefixtures("standin")
def test_existing_artefacts_and_checkpoints_reduce_the_space_needed(
    finished: Path, tmp_path: Path, free: Callable, asked: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run asks for nothing; a stopped one for less by the checkpoints that it has left."""
    whole(Path(shutil.copytree(finished, tmp_path / "done", symlinks=True)))
    assert dict(asked)["This run"] == 0

    home = without(finished, tmp_path / "home")
    asked.clear()
    with monkeypatch.context() as patches:
        save = checkpoints.Checkpointer.save

        def stopped(self: Any, state: Any) -> None:
            save(self, state)
            raise KeyboardInterrupt

        patches.setattr(checkpoints.Checkpointer, "save", stopped)
        with pytest.raises(KeyboardInterrupt):
            whole(home, alone=True)
    before = dict(asked)["Training bilevel"]
    left = disk.taken(home / "scratch")
    assert left > 1000
    asked.clear()
    whole(home, alone=True)
    assert dict(asked)["Training bilevel"] == pytest.approx(
        before - left, abs=100
    )  # label.json is not part of a checkpoint


def test_estimate_and_run_need_the_same_disk_space(
    tiny: Path, tmp_path: Path, free: Callable, asked: list[tuple[str, float]]
) -> None:
    """On a testbed of one's own, whose model is far smaller than Stable Diffusion."""
    given = RunRequest(
        method="bilevel", suite="artists", testbed=str(tiny), budget="2it", runs=tmp_path, device="cpu"
    )  # fmt: skip
    bench = workbench_for(given.runtime, tmp_path, Progress())
    assert read_facts(given).parameters == sum(parameter.numel() for parameter in bench.testbed.base().parameters())
    told = estimate(given, Speeds.of_device(devices.here("cpu")[0]))
    free(1000)
    with pytest.raises(StoreError, match="This run needs about"), Progress() as progress:
        run.run(given, progress)
    assert dict(asked)["This run"] == pytest.approx(told.disk, rel=0.02)


def test_run_command_checks_disk_space_before_loading_anything(tiny: Path, tmp_path: Path, free: Callable) -> None:
    free(10**6)
    words = ["run", "--method", "uce", "--suite", "artists", "--testbed", str(tiny), "--budget", "2it", "--yes"]
    result = CliRunner().invoke(app, [*words, "--runs", str(tmp_path / "runs"), "--device", "cpu"])
    assert result.exit_code == 2
    assert "error: This run needs about" in result.stderr
    assert f"in {tmp_path / 'runs'}, and the disk has 1.0 MB free" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_resumed_run_skips_the_space_check_for_an_empty_store(tiny: Path, tmp_path: Path, free: Callable) -> None:
    free(10**6)
    (tmp_path / "artefacts").mkdir()
    given = request(tmp_path, testbed=str(tiny), budget="2it", overrides={})
    confirm.consent([given], yes=True)
