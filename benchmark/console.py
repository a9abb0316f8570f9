"""Shows the progress of a run: one bar per stage on a terminal, and lines of text elsewhere.

    with Progress() as progress:
        with progress.stage("sample", total=150, unit="images") as stage:
            stage.advance(32)
        fit(..., Context(progress=progress.report, ...))     # phases of a training loop, by name

Everything is written to standard error, so that tables on standard output can be piped. If standard error is not a
terminal, a line reports the progress at least every `SILENCE` seconds, also during long steps and between stages, and
one more when a stage ends.
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
"""Maximum time in seconds between two progress lines, if no terminal shows bars."""
SHARE, DENSEST = 0.05, 10.0
"""Share of a stage after which a line is written earlier, and the minimum seconds between two such lines."""
WIDTH = 80
"""Number of columns to use if the terminal does not report it."""


def console_on(
    file: TextIO | None = None, *, stderr: bool = False, quiet: bool = False, terminal: bool | None = None
) -> Console:
    """Create a console as wide as the terminal. `COLUMNS=0`, which some shells and schedulers set, is ignored."""
    columns = os.environ.get("COLUMNS", "")
    width = WIDTH if columns.isdigit() and int(columns) == 0 else None
    return Console(file=file, stderr=stderr, quiet=quiet, highlight=False, width=width, force_terminal=terminal)


def duration(seconds: float) -> str:
    """Format a duration in seconds for reading: `0.4 s`, `38 s`, `2 min 05 s`, `1 h 02 min`."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def rate(count: float, seconds: float, unit: str) -> str:
    """Format a rate as units per second (`9.2 it/s`), or below 1 as seconds per unit (`2.5 s/it`); empty for 0."""
    if count <= 0 or seconds <= 0:
        return ""
    speed = count / seconds
    if speed >= 1:
        return f"{speed:.1f} {unit}/s" if speed < 100 else f"{speed:.0f} {unit}/s"
    return f"{1 / speed:.1f} s/{unit.removesuffix('s')}"


def figures_text(figures: dict[str, float]) -> str:
    """Format values with four significant digits: `loss 0.0412  drift 0.016`."""
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def standard_error() -> Console:
    """Create the console for progress. In a distributed run, only that of the first process prints.

    The operating system decides whether it is a terminal, not FORCE_COLOR, which CI systems set.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return console_on(stderr=True, quiet=not launcher.is_first(), terminal=terminal)


class _Rate(ProgressColumn):
    """A column with the smoothed speed that rich measures, in the unit of the stage."""

    def render(self, task: Task) -> Text:
        return Text(rate(task.speed or 0.0, 1.0, task.fields["unit"]), style="dim")


class Past(NamedTuple):
    """Timing of a finished stage."""

    name: str
    began: float
    """Start time, from `time.perf_counter`."""
    seconds: float
    """Wall time."""
    cpu: float
    """CPU time of this process in seconds, summed over all cores."""


class Stage:
    """A stage whose steps are counted. Create it with `Progress.stage` or `Progress.report`."""

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
        """Add `count` finished units. `figures` are values to show (such as a loss), replacing earlier ones."""
        self.reach(self.done + count, **figures)

    def reach(self, done: int, **figures: float) -> None:
        """Set the total number of finished units; `figures` are as in `advance`."""
        self.done, self._reached = done, time.perf_counter()
        self.figures = {**self.figures, **figures}  # another thread may be reading them
        self._progress.bars.update(self._task, completed=done, figures=escape(figures_text(self.figures)))
        self._progress.heartbeat(self)

    def status(self) -> str:
        """Describe the progress: steps, share, rate, values, time since the start and, if known, time left."""
        now, finished = time.perf_counter(), self.done - self._resumed_at
        parts = [f"{self.done}/{self.total} {self.unit}"]
        parts += [f"{self.done / self.total:.0%}"] if self.total else []
        parts += [rate(finished, self._reached - self.began, self.unit), figures_text(self.figures)]
        parts.append(f"after {duration(now - self.began)}")
        if finished > 0 and self.total > self.done:
            left = (self.total - self.done) * (self._reached - self.began) / finished - (now - self._reached)
            parts.append(f"{duration(max(0.0, left))} left")
        return "  ".join(part for part in parts if part)

    def _close(self, whole: bool) -> None:
        seconds = time.perf_counter() - self.began
        past = Past(self.name, self.began, seconds, time.process_time() - self._spent)
        self._progress.past.append(past)
        self._progress.leave(self)
        self._progress.bars.remove_task(self._task)
        mark = "[green]✓[/]" if whole else "[yellow]–[/]"
        # The rate of a resumed stage counts only the units of this run, because only their time is known.
        parts = [f"{self.done}/{self.total} {self.unit}", duration(seconds)]
        parts += [rate(self.done - self._resumed_at, seconds, self.unit), figures_text(self.figures)]
        self._progress.say(f"{mark} {escape(self.name.ljust(_NAME_WIDTH))} " + "  ".join(p for p in parts if p))


class Progress:
    """Shows the stages of a run. Use it as a context manager.

    In a distributed run, only the first process prints.

    Args:
        console: where to write; standard error by default.
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
            Thread(target=self._run_heartbeat, name="heartbeat", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._finish_phases()
        self.bars.stop()

    def _run_heartbeat(self) -> None:
        while not self._over.wait(1.0):
            with suppress(OSError, ValueError):  # standard error may be closed; the main thread reports that
                self.heartbeat(self._current)

    def say(self, text: str) -> None:
        """Print a line above the bars. It may contain rich markup, so escape text that a user has written."""
        self.console.print(text, soft_wrap=True)
        self._said = time.perf_counter()

    def heartbeat(self, stage: Stage | None) -> None:
        """Print a progress line, if no bars are shown and the last line is old or much has been done since.

        Args:
            stage: the current stage; None between stages.
        """
        if self.watched or self.console.quiet:
            return
        with self._speaking:
            if stage is not self._current:
                self._current, self._shown = stage, stage.done if stage else 0
            silent = time.perf_counter() - self._said
            advanced = stage is not None and stage.done - self._shown >= SHARE * stage.total
            if stage is not None and 0 < stage.total <= stage.done:  # its end is printed when it is closed
                advanced = False
            if stage is not None and min(silent, time.perf_counter() - stage.began) < DENSEST:
                advanced = False
            if not (advanced or silent >= SILENCE):
                return
            if stage is None:
                name = self._doing or (f"after {self.past[-1].name}" if self.past else "running")
                status = duration(time.perf_counter() - self._began)
            else:
                name, status, self._shown = stage.name, stage.status(), stage.done
            self.say(f"[dim]…[/] {escape(name.ljust(_NAME_WIDTH))} {escape(status)}")

    def status(self) -> str:
        """Describe the current stage and its progress, for other processes to read."""
        stage = self._current
        return self._doing if stage is None else f"{stage.name} {stage.done}/{stage.total} {stage.unit}"

    def leave(self, stage: Stage) -> None:
        """Mark a stage as finished."""
        self._began = time.perf_counter()
        if self._current is stage:
            self._current = None

    @contextmanager
    def doing(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show a task without countable steps: an indefinite bar, or progress lines if it takes long.

        The context manager yields a function that sets further details to show.
        """
        before, self._doing, self._began = self._doing, what, time.perf_counter()
        task = self.bars.add_task(escape(what), total=None, unit="", figures="", visible=self.watched)

        def set_details(details: str) -> None:
            self._doing = f"{what} ({details})" if details else what
            self.bars.update(task, figures=escape(details))

        try:
            yield set_details
        finally:
            self._doing = before
            self.bars.remove_task(task)

    def reuse(self, what: str) -> None:
        """Print that a result was found in the store and is not computed again."""
        self.say(f"[cyan]↺[/] {escape(what)}")

    def warn(self, what: str) -> None:
        """Print a warning in one line."""
        self.say(f"[yellow]![/] {escape(what)}")

    @contextmanager
    def stage(self, name: str, total: int, unit: str = "it", done: int = 0) -> Iterator[Stage]:
        """Show a stage until the end of the `with` block.

        Args:
            name: its name.
            total: number of units.
            unit: name of a unit.
            done: number of units that an earlier, interrupted run has finished.
        """
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
        """Show the progress of a training phase; the callback of a training loop (`methods.base.Context.progress`).

        Phases may alternate. A phase ends when it reaches its total, or when the next stage begins.

        Args:
            phase: name of the phase.
            done: number of finished iterations.
            total: number of iterations.
            figures: values to show, such as a loss.
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
    """Switch off the progress bars of diffusers and transformers, which would mix with those of `Progress`."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
