"""Campaigns: many runs from one text file, with the options of `bench run` on each line.

    # three seeds of two methods
    --method bilevel --suite artists --seed {0,1,2}
    --method esd --suite artists --seed {0,1,2}

Braces contain alternatives, as in a shell, so these lines are six runs. Each run is a separate process, so that a crash
does not affect other runs. A campaign that is started again does not repeat finished runs.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from benchmark.console import SILENCE, standard_error
from benchmark.errors import PalimpsestError, Stopped, UsageError

OWN = ("--runs", "--device")
"""Options that a line must not contain: they are given to `bench campaign`, for all runs."""


def read_plan(path: Path, check: Callable[[list[str]], None] = lambda words: None) -> list[list[str]]:
    """Return the options of each run of the campaign file `path`, in order; duplicates are left out.

    Args:
        path: the campaign file.
        check: called with the options of each run; raises the error that `bench run` would raise for them.

    Raises:
        UsageError: the file or one of its lines is not valid; the message contains the number of the line.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"The campaign {path} cannot be read ({error.strerror}): give a text file with the options of a run on "
            "each line."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The campaign {path} is not UTF-8 ({error}): save it as UTF-8.") from error
    plan: list[list[str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        for run_line in _alternatives(line.partition("#")[0].strip()):
            try:
                words = shlex.split(run_line)
            except ValueError as error:
                raise UsageError(f"{path}, line {number}: {_unreadable(run_line)}") from error
            option_names = {word.partition("=")[0] for word in words}  # also recognises --runs=folder
            is_complete = "--method" in option_names and bool({"--suite", "--concept"} & option_names)
            if words and (not is_complete or option_names & set(OWN)):
                raise UsageError(
                    f"{path}, line {number}: a run needs --method and --suite (or --concept), and must not have "
                    f"{' or '.join(OWN)}."
                )
            if "" in words or any(word.endswith("=") for word in words if word.startswith("--")):
                raise UsageError(f"{path}, line {number}: an option is empty; give it a value, or leave it out.")
            if not words or words in plan:
                continue
            try:
                check(words)
            except PalimpsestError as error:
                raise UsageError(f"{path}, line {number}: {error}") from error
            plan.append(words)
    if not plan:
        raise UsageError(f"The campaign {path} contains no runs: add a line with the options of each run.")
    return plan


def _unreadable(line: str) -> str:
    """Return why `shlex.split` refuses a line: a backslash at its end, or an open quote."""
    if line.endswith("\\"):
        return "the line ends with a backslash, but runs cannot have several lines: write it on one line."
    return "a quotation mark is not closed: close it."


def conduct(plan: list[list[str]], runs: Path, lanes: int = 1) -> list[list[str]]:
    """Execute all runs, `lanes` of them in parallel, and return those that failed.

    One line per run is printed on standard error.
    """
    console = standard_error()
    threads = max(1, (os.cpu_count() or 1) // lanes)
    processes: set[subprocess.Popen[str]] = set()

    def conduct_run(number: int) -> bool:
        words = plan[number]
        command = [sys.executable, "-m", "benchmark", "run", *words, "--runs", str(runs)]
        environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if lanes > 1 else {})
        code, last = _run_command(
            command,
            environment,
            lambda line: console.print(f"{number + 1}/{len(plan)} {line}", markup=False),
            processes,
        )
        mark = "[green]✓[/]" if code == 0 else "[red]✗[/]"
        console.print(f"{mark} {number + 1}/{len(plan)}", end=" ")
        console.print(shlex.join(words), markup=False)
        if code:
            console.print("\n".join(last), markup=False)
        return code == 0

    with ThreadPoolExecutor(lanes) as pool:
        try:
            futures = [pool.submit(conduct_run, number) for number in range(len(plan))]
            succeeded = [future.result() for future in futures]
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, Stopped):  # Ctrl-C reaches the current runs too, other signals do not
                _terminate(processes, futures)
            raise
    return [words for words, has_succeeded in zip(plan, succeeded, strict=True) if not has_succeeded]


def _terminate(processes: set[subprocess.Popen[str]], futures: Sequence[Future[bool]]) -> None:
    """Send SIGTERM to the processes of these futures, also to those that are just being started."""
    terminated: set[subprocess.Popen[str]] = set()
    while not all(future.done() for future in futures):
        for process in set(processes) - terminated:
            process.terminate()
            terminated.add(process)
        time.sleep(0.05)


def _run_command(
    command: list[str],
    environment: Mapping[str, str],
    tell: Callable[[str], None],
    processes: set[subprocess.Popen[str]] | None = None,
) -> tuple[int, list[str]]:
    """Run a command, and return its exit code and the last three lines that it wrote to standard error.

    `tell` is called with the newest line, at most once every `SILENCE` seconds. `processes` contains the
    process while it exists.
    """
    last: deque[str] = deque(maxlen=3)
    last_printed = time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None  # it is a pipe
        running = set() if processes is None else processes
        running.add(process)
        for line in process.stderr:
            if not line.strip():
                continue
            last.append(line.rstrip())
            if time.monotonic() - last_printed >= SILENCE:
                tell(last[-1])
                last_printed = time.monotonic()
        process.wait()
        running.discard(process)
    return process.returncode, list(last)


def conduct_together(
    plan: list[list[str]], runs: Path, run: Callable[[list[str]], object]
) -> list[list[str]]:  # fmt: skip
    """Execute the runs of a campaign that torchrun or accelerate started, and return those that failed.

    They are executed one after the other, each on all processes of that launcher.

    `run` executes one run, given its options. A PalimpsestError that it raises is printed on standard error.
    """
    console = standard_error()
    failed = []
    for number, words in enumerate(plan, 1):
        try:
            run([*words, "--runs", str(runs)])
        except PalimpsestError as error:
            failed.append(words)
            console.print(f"[red]✗[/] {number}/{len(plan)}", end=" ")
            console.print(f"{shlex.join(words)}\nerror: {error}", markup=False)
        else:
            console.print(f"[green]✓[/] {number}/{len(plan)}", end=" ")
            console.print(shlex.join(words), markup=False)
    return failed


def _alternatives(line: str) -> list[str]:
    """Expand the braces of a line: `a {1,2} b` -> `a 1 b`, `a 2 b`.

    Several braces give all combinations, and the last one changes fastest.
    """
    match = re.search(r"\{([^{}]*)\}", line)
    if not match:
        return [line]
    return [
        expanded_line
        for word in match[1].split(",")
        for expanded_line in _alternatives(line[: match.start()] + word.strip() + line[match.end() :])
    ]
