"""Stages on a terminal and without one."""

import io
import re

import pytest
from rich.console import Console

from benchmark.console import Progress, duration, figures_text, rate


def _quiet() -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    return Progress(Console(file=out, force_terminal=False, width=200, highlight=False)), out


def test_output_without_a_terminal_is_one_plain_line_per_stage() -> None:
    progress, out = _quiet()
    with progress, progress.stage("sample", total=64, unit="images") as stage:
        for _ in range(2):
            stage.advance(32, loss=0.25)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    assert re.search(r"✓ sample +64/64 images  \d+\.\d s  [\d.]+ images/s  loss 0.25$", lines[0]), lines[0]
    assert "\x1b" not in out.getvalue()


def test_terminal_shows_bar_rate_and_figures() -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=True, width=140))
    with progress, progress.stage("distil", total=2) as stage:
        stage.advance(loss=0.5)
        progress.bars.refresh()
        seen = out.getvalue()
        stage.advance(loss=0.25)
    assert "distil" in seen
    assert "1/2" in seen
    assert "loss 0.5" in seen
    assert "✓" in out.getvalue()


def test_stage_cut_short_is_not_ticked() -> None:
    progress, out = _quiet()

    def cut() -> None:
        with progress, progress.stage("distil", total=10) as stage:
            stage.advance(3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut()
    assert "– distil" in out.getvalue()
    assert "3/10" in out.getvalue()
    assert "✓" not in out.getvalue()


def test_resumed_stage_does_not_count_earlier_work_in_its_rate() -> None:
    progress, out = _quiet()
    with progress, progress.stage("sample", total=100, unit="images", done=100):
        pass
    assert "100/100 images" in out.getvalue()
    assert "images/s" not in out.getvalue()


def test_alternating_phases_of_a_fit_are_one_line_each() -> None:
    progress, out = _quiet()
    with progress:
        for step in range(1, 5):
            progress.report("lower", step, 4, {"loss": 1 / step})
            if step % 2 == 0:
                progress.report("upper", step // 2, 3, {"loss": -1.0})
        with progress.stage("sample", total=1) as stage:
            stage.advance()
    lines = out.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["lower", "upper", "sample"]
    assert lines[0].startswith("✓")
    assert lines[1].startswith("–"), "2 of 3 upper steps are not the whole phase"
    assert "loss 0.25" in lines[0]


def test_markup_in_names_is_printed_literally() -> None:
    progress, out = _quiet()
    with progress:
        progress.warn("fid[mini] is [red]odd")
        with progress.stage("score fid[mini]", total=1) as stage:
            stage.advance()
    assert "fid[mini] is [red]odd" in out.getvalue()
    assert "score fid[mini]" in out.getvalue()


def test_only_the_first_process_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with Progress() as progress, progress.stage("sample", total=1) as stage:
        stage.advance()
    monkeypatch.setenv("RANK", "0")
    with Progress() as progress:
        progress.say("here")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "here\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"),
     (3599.7, "1 h 00 min"), (3725, "1 h 02 min")],
)  # fmt: skip
def test_durations_carry_over_at_their_edges(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_slow_rate_is_given_in_seconds_per_item() -> None:
    assert rate(10, 25, "images") == "2.5 s/image"
    assert rate(10, 25, "it") == "2.5 s/it"
    assert rate(250, 2, "it") == "125 it/s"
    assert rate(0, 2, "it") == ""
    assert rate(3, 0.0, "it") == ""
    assert figures_text({"loss": 0.0123456, "drift": 2.0}) == "loss 0.01235  drift 2"
