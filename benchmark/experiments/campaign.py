"""Many runs from one text file, a line of options each. A campaign that is started again repeats no finished run.

    # three seeds of the headline pair
    --method bilevel --suite artists --seed {0,1,2}
    --method esd --suite artists --seed {0,1,2}

Braces stand for alternatives, as in a shell: the lines above are six runs. Every run is a process of its own, so that
one that dies takes nothing with it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmark.console import SILENCE, standard_error
from benchmark.errors import PalimpsestError, UsageError

OWN = ("--runs", "--device")
"""Options that the campaign itself sets."""


def read_plan(path: Path, check: Callable[[list[str]], None] = lambda words: None) -> list[list[str]]:
    """The options of each run, in order. UsageError, naming the line, for one that cannot be read.

    `check` gets the options of each run and raises the error with which `bench run` would refuse them.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The campaign {path} cannot be read ({error}).") from error
    plan: list[list[str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        for run_line in _alternatives(line.partition("#")[0].strip()):
            try:
                words = shlex.split(run_line)
            except ValueError as error:
                raise UsageError(f"{path}, line {number}: {_unreadable(run_line)}") from error
            option_names = {word.partition("=")[0] for word in words}  # --runs=elsewhere says --runs as well
            if words and (not {"--method", "--suite"} <= option_names or option_names & set(OWN)):
                raise UsageError(
                    f"{path}, line {number}: a run needs --method and --suite, and may not say {' or '.join(OWN)}."
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
        raise UsageError(f"The campaign {path} asks for no run.")
    return plan


def _unreadable(line: str) -> str:
    """Say why a shell's words cannot be read from a line: there are two ways."""
    if line.endswith("\\"):
        return "it ends in a backslash, and no line goes on in the next one: write the run in one line."
    return "a quote is left open: close it."


def conduct(plan: list[list[str]], runs: Path, lanes: int = 1) -> list[list[str]]:
    """Do all runs, `lanes` at a time, and return those that failed. Standard error gets a line for each run."""
    console = standard_error()
    threads = max(1, (os.cpu_count() or 1) // lanes)

    def conduct_run(number: int) -> bool:
        words = plan[number]
        command = [sys.executable, "-m", "benchmark", "run", *words, "--runs", str(runs)]
        environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if lanes > 1 else {})
        code, last = _followed(
            command, environment, lambda line: console.print(f"{number + 1}/{len(plan)} {line}", markup=False)
        )
        mark = "[green]✓[/]" if code == 0 else "[red]✗[/]"
        console.print(f"{mark} {number + 1}/{len(plan)}", end=" ")
        console.print(shlex.join(words), markup=False)
        if code:
            console.print("\n".join(last), markup=False)
        return code == 0

    with ThreadPoolExecutor(lanes) as pool:
        try:
            succeeded = list(pool.map(conduct_run, range(len(plan))))
        except KeyboardInterrupt:  # the terminal has interrupted the current runs too
            pool.shutdown(cancel_futures=True)
            raise
    return [words for words, has_succeeded in zip(plan, succeeded, strict=True) if not has_succeeded]


def _followed(command: list[str], environment: Mapping[str, str], tell: Callable[[str], None]) -> tuple[int, list[str]]:
    """Run a command to its end: its exit code, and the last three lines that it wrote to standard error.

    Every `SILENCE` seconds, `tell` gets the line that it wrote last.
    """
    last: deque[str] = deque(maxlen=3)
    last_printed = time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None  # it is a pipe
        for line in process.stderr:
            if not line.strip():
                continue
            last.append(line.rstrip())
            if time.monotonic() - last_printed >= SILENCE:
                tell(last[-1])
                last_printed = time.monotonic()
    return process.returncode, list(last)


def conduct_together(
    plan: list[list[str]], runs: Path, run: Callable[[list[str]], object]
) -> list[list[str]]:  # fmt: skip
    """Do all runs one after the other in these processes, which share each of them; returns those that failed.

    `run` does one of them, given its options; its PalimpsestError is printed on standard error.
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
    """`a {1,2} b` -> `a 1 b`, `a 2 b`; several braces give all combinations, the last one changing fastest."""
    match = re.search(r"\{([^{}]*)\}", line)
    if not match:
        return [line]
    return [
        expanded_line
        for word in match[1].split(",")
        for expanded_line in _alternatives(line[: match.start()] + word.strip() + line[match.end() :])
    ]
