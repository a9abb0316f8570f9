"""Progress reports of long computations, above all where standard error is a file."""

import io
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark import console
from benchmark.api.request import Runtime
from benchmark.console import Progress
from benchmark.pipeline.setup import workbench_for


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(console.time, "perf_counter", found)
    return found


def unwatched() -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    return Progress(Console(file=out, force_terminal=False, width=80, highlight=False)), out


def test_long_training_reports_progress_every_half_minute(clock: Clock) -> None:
    """25 minutes at a step a second, reported every tenth step."""
    progress, out = unwatched()
    for step in range(0, 1501, 10):
        progress.report("train bilevel", step, 1500, {"lower": 0.5, "upper": 0.25})
        clock.now += 10
    lines = out.getvalue().splitlines()
    assert 48 <= len(lines) <= 51
    told = "… train bilevel 750/1500 it 50% 1.0 it/s lower 0.5 upper 0.25 after 12 min 30 s 12 min 30 s left"
    assert " ".join(lines[24].split()) == told
    assert all(character.isprintable() for line in lines for character in line)
    assert lines[-1].startswith("✓ train bilevel")


def test_a_stage_that_has_counted_all_its_steps_and_goes_on_is_not_silent(clock: Clock) -> None:
    """Eight minutes after the last counted step, as when drawn pictures are encoded."""
    progress, out = unwatched()
    with progress.stage("draw", total=10, unit="pictures") as stage:
        stage.advance(10)
        for _ in range(480):
            clock.now += 1
            progress.heartbeat(stage)
    assert 15 <= len(out.getvalue().splitlines()) <= 17


def test_long_stage_reports_every_5_percent_and_short_stage_only_its_end(clock: Clock) -> None:
    progress, out = unwatched()
    for seconds, expected in ((240, 20), (9, 1)):
        with progress.stage("sample", total=100, unit="images") as stage:
            for _ in range(100):
                clock.now += seconds / 100
                stage.advance()
        lines = out.getvalue().splitlines()
        assert len(lines) == expected, lines
        out.truncate(0)
        out.seek(0)


def test_remaining_time_of_a_resumed_stage_uses_the_current_rate(clock: Clock) -> None:
    progress, out = unwatched()
    with progress.stage("sample", total=1000, unit="images", done=900) as stage:
        clock.now += 40
        stage.advance(20)
    assert out.getvalue().splitlines()[0].endswith("920/1000 images  92%  2.0 s/image  after 40 s  2 min 40 s left")


def test_work_without_steps_is_reported_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that makes no step, work that has none to count, and what no one gave a name."""
    monkeypatch.setattr(console, "SILENCE", 0.01)
    progress, out = unwatched()

    def said(text: str) -> None:
        until = time.monotonic() + 20
        while text not in out.getvalue() and time.monotonic() < until:
            time.sleep(0.05)
        assert text in out.getvalue()

    with progress:
        with progress.stage("load testbed", total=1, unit="testbed"):
            said("… load testbed                 0/1 testbed")
        with progress.doing("score base: coco"):
            said("… score base: coco")
        said("… after load testbed")
    told = out.getvalue()
    time.sleep(1.2)
    assert out.getvalue() == told  # over is over


def test_a_terminal_shows_a_bar_for_work_without_steps() -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=True, width=140, _environ={"TERM": "xterm"}))
    with progress, progress.doing("wait for train bilevel") as tell:
        tell("process 7 on node1: train bilevel 3/9 it")
        progress.bars.refresh()
        assert "wait for train bilevel" in out.getvalue()
        assert "process 7 on node1: train bilevel 3/9 it" in out.getvalue()
    assert "✓" not in out.getvalue()


def test_file_output_has_no_control_characters_under_force_color() -> None:
    """CI sets FORCE_COLOR for what it shows; a file stays a file."""
    code = (
        "from benchmark.console import Progress\n"
        "with Progress() as progress, progress.stage('sample', 2) as stage:\n"
        "    stage.advance(2, loss=0.5)\n"
    )
    environment: dict[str, Any] = {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr.startswith("✓ sample")
    assert done.stderr.rstrip("\n").isprintable()


def test_closed_standard_error_does_not_stop_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with Progress() as progress, progress.stage("sample", 1) as stage:
        stage.advance()
    assert progress.past[0].name == "sample"


@pytest.mark.usefixtures("standin")
def test_encoding_training_pictures_is_a_stage_that_counts_them(tmp_path: Path) -> None:
    progress, _ = unwatched()
    work = workbench_for(Runtime(device="cpu"), tmp_path, progress)
    work.testbed._retain(work, work.testbed.concept(()), "plain")  # type: ignore[attr-defined]
    assert [past.name for past in progress.past][-2:] == ["draw training pictures", "encode training pictures"]
