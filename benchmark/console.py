"""What a run says while it works: one bar a stage on a terminal; elsewhere lines, the last of a stage when it ends.

    with Progress() as progress:
        with progress.stage("sample", total=150, unit="images") as stage:
            stage.advance(32)
        fit(..., Context(progress=progress.report, ...))     # phases of a training loop, by name

Everything goes to standard error, so that the table row on standard output can be piped. Where that is a file, a line
says every `SILENCE` seconds how far the stage is, also while it makes no step and between stages.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from benchmark import launcher

_NAME_WIDTH = 28
SILENCE = 30.0
"""Seconds without a line after which one says how far the work is, where no terminal shows bars."""
SHARE, DENSEST = 0.05, 10.0
"""Part of a stage after which a line comes earlier, and the fewest seconds between two such lines."""
WIDTH = 80
"""Columns where a terminal does not say how many it has."""


def console_on(
    file: TextIO | None = None, *, stderr: bool = False, quiet: bool = False, terminal: bool | None = None
) -> Console:
    """A console as wide as the terminal; `COLUMNS=0`, which some shells and schedulers set, is no width."""
    columns = os.environ.get("COLUMNS", "")
    width = WIDTH if columns.isdigit() and int(columns) == 0 else None
    return Console(file=file, stderr=stderr, quiet=quiet, highlight=False, width=width, force_terminal=terminal)


def duration(seconds: float) -> str:
    """A span of time as a person would write it: `0.4 s`, `38 s`, `2 min 05 s`, `1 h 02 min`."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def rate(count: float, seconds: float, unit: str) -> str:
    """Work a second (`9.2 it/s`), or seconds a piece where that reads better (`2.5 s/it`); empty for no work."""
    if count <= 0 or seconds <= 0:
        return ""
    speed = count / seconds
    if speed >= 1:
        return f"{speed:.1f} {unit}/s" if speed < 100 else f"{speed:.0f} {unit}/s"
    return f"{1 / speed:.1f} s/{unit.removesuffix('s')}"


def figures_text(figures: dict[str, float]) -> str:
    """`loss 0.0412  drift 0.016`: four significant digits each."""
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def standard_error() -> Console:
    """Where progress is written; of several processes the first one's alone is not quiet.

    Whether it is a terminal is asked of the system: FORCE_COLOR, which CI sets, does not make one of a file.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return console_on(stderr=True, quiet=not launcher.is_first(), terminal=terminal)


class _Rate(ProgressColumn):
    """rich's own smoothed speed, written in the stage's unit."""

    def render(self, task: Task) -> Text:
        return Text(rate(task.speed or 0.0, 1.0, task.fields["unit"]), style="dim")


class Past(NamedTuple):
    """A stage that is over."""

    name: str
    began: float
    """As `time.perf_counter` counts."""
    seconds: float
    cpu: float
    """Seconds of all cores together, of this process."""


class Stage:
    """One stretch of counted work. Made by `Progress.stage` or `Progress.report`."""

    def __init__(self, progress: Progress, name: str, total: int, unit: str, done: int) -> None:
        self.name, self.total, self.unit, self.done = name, total, unit, done
        self.figures: dict[str, float] = {}
        self._progress, self._resumed_at = progress, done
        self.began, self._spent = time.perf_counter(), time.process_time()
        self._reached = self.began
        self._task: TaskID = progress.bars.add_task(
            escape(name), total=total, completed=done, unit=unit, figures="", visible=progress.watched
        )

    def advance(self, count: int = 1, **figures: float) -> None:
        """`count` more units are done; figures (a loss, say) replace those shown before."""
        self.reach(self.done + count, **figures)

    def reach(self, done: int, **figures: float) -> None:
        """`done` units are done in all."""
        self.done, self._reached = done, time.perf_counter()
        self.figures = {**self.figures, **figures}  # another thread may be reading them
        self._progress.bars.update(self._task, completed=done, figures=escape(figures_text(self.figures)))
        self._progress.heartbeat(self)

    def status(self) -> str:
        """How far it is: steps, share, rate, figures, time since it began and, once a rate is known, time left."""
        now, made = time.perf_counter(), self.done - self._resumed_at
        parts = [f"{self.done}/{self.total} {self.unit}"]
        parts += [f"{self.done / self.total:.0%}"] if self.total else []
        parts += [rate(made, self._reached - self.began, self.unit), figures_text(self.figures)]
        parts.append(f"after {duration(now - self.began)}")
        if made > 0 and self.total > self.done:
            left = (self.total - self.done) * (self._reached - self.began) / made - (now - self._reached)
            parts.append(f"{duration(max(0.0, left))} left")
        return "  ".join(part for part in parts if part)

    def _close(self, whole: bool) -> None:
        seconds = time.perf_counter() - self.began
        past = Past(self.name, self.began, seconds, time.process_time() - self._spent)
        self._progress.past.append(past)
        self._progress.leave(self)
        self._progress.bars.remove_task(self._task)
        mark = "[green]✓[/]" if whole else "[yellow]–[/]"
        # A resumed stage is timed on what was done now: earlier work would flatter the rate.
        parts = [f"{self.done}/{self.total} {self.unit}", duration(seconds)]
        parts += [rate(self.done - self._resumed_at, seconds, self.unit), figures_text(self.figures)]
        self._progress.say(f"{mark} {escape(self.name.ljust(_NAME_WIDTH))} " + "  ".join(p for p in parts if p))


class Progress:
    """The stages of one run, as a person watches them. Use as a context; only the first of several processes speaks.

    `console` is where to write; left out, standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or standard_error()
        self.watched = self.console.is_terminal and not self.console.is_dumb_terminal and not self.console.quiet
        self.bars = Bars(
            TextColumn("  {task.description:<" + str(_NAME_WIDTH) + "}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[figures]}"),
            console=self.console,
            disable=not self.watched,
        )
        self._phases: dict[str, Stage] = {}
        self.past: list[Past] = []
        self._current: Stage | None = None
        self._doing = ""
        self._said = self._began = time.perf_counter()
        self._shown = 0
        self._speaking, self._over = Lock(), Event()

    def __enter__(self) -> Self:
        self.bars.start()
        if not self.watched and not self.console.quiet:
            Thread(target=self._beat, name="heartbeat", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._finish_phases()
        self.bars.stop()

    def _beat(self) -> None:
        while not self._over.wait(1.0):
            with suppress(OSError, ValueError):  # standard error is closed: who wrote to it last says so
                self.heartbeat(self._current)

    def say(self, text: str) -> None:
        """One line above the bars; rich markup is understood, so escape what a user wrote."""
        self.console.print(text, soft_wrap=True)
        self._said = time.perf_counter()

    def heartbeat(self, stage: Stage | None) -> None:
        """A line on how far `stage` is, where no bars are shown, if there was none for a while or much was done since.

        Of no stage: a line on what is done between stages.
        """
        if self.watched or self.console.quiet or (stage is not None and 0 < stage.total <= stage.done):
            return
        with self._speaking:
            if stage is not self._current:
                self._current, self._shown = stage, stage.done if stage else 0
            silent = time.perf_counter() - self._said
            advanced = stage is not None and stage.done - self._shown >= SHARE * stage.total
            if stage is not None and min(silent, time.perf_counter() - stage.began) < DENSEST:
                advanced = False
            if not (advanced or silent >= SILENCE):
                return
            if stage is None:
                name = self._doing or (f"after {self.past[-1].name}" if self.past else "at work")
                status = duration(time.perf_counter() - self._began)
            else:
                name, status, self._shown = stage.name, stage.status(), stage.done
            self.say(f"[dim]…[/] {escape(name.ljust(_NAME_WIDTH))} {escape(status)}")

    def status(self) -> str:
        """What is done now, and how far it is; for another process to read."""
        stage = self._current
        return self._doing if stage is None else f"{stage.name} {stage.done}/{stage.total} {stage.unit}"

    def leave(self, stage: Stage) -> None:
        """The stage is over: what comes next is not it."""
        self._began = time.perf_counter()
        if self._current is stage:
            self._current = None

    @contextmanager
    def doing(self, what: str) -> Iterator[Callable[[str], None]]:
        """Names work that has no steps to count: a bar without an end, or a line where it takes long, and none when it
        is over. Gives a function that says more of it."""
        before, self._doing, self._began = self._doing, what, time.perf_counter()
        task = self.bars.add_task(escape(what), total=None, unit="", figures="", visible=self.watched)

        def tell(more: str) -> None:
            self._doing = f"{what} ({more})" if more else what
            self.bars.update(task, figures=escape(more))

        try:
            yield tell
        finally:
            self._doing = before
            self.bars.remove_task(task)

    def reuse(self, what: str) -> None:
        """Says that something was found in the store and not made again."""
        self.say(f"[cyan]↺[/] {escape(what)}")

    def warn(self, what: str) -> None:
        """One line that should not be overlooked."""
        self.say(f"[yellow]![/] {escape(what)}")

    @contextmanager
    def stage(self, name: str, total: int, unit: str = "it", done: int = 0) -> Iterator[Stage]:
        """A stage from here to the end of the `with`: `total` units of work, `done` of them by an earlier, cut run."""
        self._finish_phases()
        stage = self._current = Stage(self, name, total, unit, done)
        self._shown = done
        try:
            yield stage
        except BaseException:
            stage._close(whole=False)
            raise
        stage._close(whole=stage.done >= stage.total)

    def report(self, phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        """A training loop's callback (`methods.base.Context.progress`): `done` of `total` iterations of `phase`.

        Phases may alternate. One ends when it reaches its total, or when the next stage begins.
        """
        stage = self._phases.get(phase)
        if stage is None:
            stage = self._phases[phase] = Stage(self, phase, total, "it", done)
        stage.total = total
        stage.reach(done, **figures)
        if done >= total:
            self._phases.pop(phase)._close(whole=True)

    def _finish_phases(self) -> None:
        for stage in self._phases.values():
            stage._close(whole=False)
        self._phases.clear()


def quiet_libraries() -> None:
    """Progress is shown once, by us; loading our own small files needs no bars of its own."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
