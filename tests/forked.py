"""Runs commands of `bench` as real processes that are forked from one process with all imports done.

A trial of the reliability campaign starts several commands. Python and torch take 5 s and more to import, so a fork
server (multiprocessing's) imports everything once and forks a child for each command. The child is a process of its
own, in its own session, and calls the entry point of the console script, `benchmark.cli.app.main`. It can be killed,
and then nothing in it is executed any more: no `finally`, no exit handler, no thread.

What differs from a command typed in a shell: testbed mini has the stand-in's weights with fewer prompts (standin.py),
torch uses one thread, modules are imported before the command starts (no kill falls into an import), and the runs that
`bench campaign` starts are forked too. A kill of a process is not a loss of power: what was written, but not flushed
to the disk, survives it.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import json
import multiprocessing
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PACKAGES = ("benchmark", "methods", "metrics", "prompts")
LATER = ("torchmetrics", "matplotlib.pyplot", "matplotlib.backends.backend_agg", "mpl_toolkits.mplot3d", "scipy.stats")
LATER += ("scipy.signal", "pyarrow.parquet", "jinja2", "PIL.PngImagePlugin", "diffusers.pipelines.stable_diffusion")
EVENTS = ("mkdir", "open", "fsync", "rename", "replace", "unlink", "rmdir", "symlink")
"""Functions of `os` that change or flush files. `open` counts when a file is opened for writing."""
_NEW_MOUNTS = 0x20000  # CLONE_NEWNS of unshare(2)


@dataclass(frozen=True)
class Fault:
    """What happens at a moment of a command. With no moment, nothing happens."""

    event: int = 0
    """Number of the call of `EVENTS` (1 is the first) for a path in the trial's folder; 0 for never."""
    error: int = 0
    """Error number that this call and all later ones raise; 0 for a SIGKILL of the process instead."""
    group: bool = False
    """Whether the SIGKILL goes to the whole process group."""
    clock: float = 0.0
    """Seconds by which the clock is set back from the start of the command."""
    memory: str = ""
    """Bytes that are free on the disk (a tmpfs) of folder `runs`; empty for a disk without such a limit."""


@dataclass(frozen=True)
class Job:
    """A command: the words after `bench`, the folder that it is started in, and the folder of the weights."""

    words: tuple[str, ...]
    folder: Path
    weights: Path
    fault: Fault = Fault()
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = "command"
    """Name of the files with its output, in `folder`."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    """Exit code; negative: the number of the signal that ended it."""
    out: str
    err: str
    events: int
    """Calls of `EVENTS`; 0 if it was killed."""
    seconds: float
    cpu: float
    """Seconds of the processor that it used."""


class Running:
    """A started command."""

    def __init__(self, job: Job) -> None:
        self.job, self._began, self.cpu = job, time.monotonic(), 0.0
        self._process = _server().Process(target=execute, args=(job,))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def send(self, number: int, cpu: float = 0.0, wall: float = 0.0) -> bool:
        """Send a signal once it has used `cpu` seconds of the processor, after `wall` seconds; False if it ended."""
        while self._process.is_alive():
            with suppress(OSError):
                self.cpu = time.clock_gettime((~self.pid << 3) | 2)  # clock_getcpuclockid(3) of this process
                if self.cpu >= cpu and time.monotonic() - self._began >= wall:
                    os.kill(self.pid, number)
                    return True
            time.sleep(0.002)
        return False

    def wait(self, seconds: float = 400) -> Ended:
        """Wait until it has ended, and all processes that it has started."""
        while self._process.is_alive():
            with suppress(OSError):
                self.cpu = max(self.cpu, time.clock_gettime((~self.pid << 3) | 2))
            self._process.join(0.02)
            if time.monotonic() - self._began > seconds:
                os.killpg(self.pid, signal.SIGKILL)
                self._process.join()
                raise AssertionError(f"{self.job.words} did not end within {seconds} s: {self._text('err')[-2000:]}")
        self._process.join()
        assert self._process.exitcode is not None
        events = self._text("events")
        return Ended(
            self._process.exitcode, self._text("out"), self._text("err"), int(events or 0),
            time.monotonic() - self._began, self.cpu,
        )  # fmt: skip

    def others_end(self, seconds: float = 100) -> bool:
        """Wait until no process of its group is left; False if one is still there after `seconds`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.02)
        return False

    def _text(self, suffix: str) -> str:
        path = self.job.folder / f"{self.job.name}.{suffix}"
        return path.read_text("utf-8", "replace") if path.exists() else ""


def run(job: Job) -> Ended:
    """Run a command to its end."""
    return Running(job).wait()


_context: list[Any] = []


def _server() -> Any:
    """The fork server, which is started and told what to import at the first call."""
    if not _context:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["forked_imports"])
        here = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
        settings = {"PYTHONPATH": here, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        kept = dict(os.environ)
        os.environ |= settings
        try:
            from multiprocessing import forkserver

            forkserver.ensure_running()
        finally:
            os.environ.clear()
            os.environ |= kept
        _context.append(context)
    return _context[0]


def import_everything() -> None:
    """Import all modules of the project and what they import when they are called; torch gets one thread."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith(("__main__", ".loader")):
                with suppress(ImportError):  # of a package that is not installed
                    importlib.import_module(module.name)
    for name in LATER:
        importlib.import_module(name)
    from PIL import Image

    Image.init()
    importlib.import_module("standin")
    registry = importlib.import_module("benchmark.registry")
    registry.entry_points = functools.cache(registry.entry_points)  # they take 20 ms, a hundred times a command


def execute(job: Job) -> None:
    """Be the process of a command, from its first statement to its end."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP):  # they are ignored if the tests were started with nohup
        signal.signal(number, signal.SIG_DFL)
    os.chdir(job.folder)
    for number, suffix in ((1, "out"), (2, "err")):
        descriptor = os.open(f"{job.name}.{suffix}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
    os.environ |= job.environment
    count = prepare(job)
    try:
        call_bench(job.words)
    finally:
        if job.fault == Fault():
            keep_counts(job.weights)
        Path(job.folder / f"{job.name}.events").write_text(str(count()))


def call_bench(words: Sequence[str]) -> None:
    """Call the entry point of the console script."""
    from benchmark.cli.app import main

    sys.argv = ["bench", *words]
    main()


def prepare(job: Job) -> Callable[[], int]:
    """Install the stand-in, forked campaigns and the fault; returns a function that returns the events so far."""
    import standin
    from forked_campaign import Forked

    from benchmark.experiments import campaign
    from benchmark.generation import shards

    standin.ASKED.update(artists=12, coco=6)
    standin.install(job.weights)
    standin._counts |= _counted_before(job.weights)
    shards.SHARD_SIZE = 4
    pipes = {name: getattr(subprocess, name) for name in ("PIPE", "DEVNULL")}
    campaign.subprocess = SimpleNamespace(Popen=Forked, **pipes)  # type: ignore[assignment]
    if job.fault.memory:
        disk = importlib.import_module("benchmark.store.disk")
        disk.check = lambda *_: None  # type: ignore[attr-defined]  # something else fills the disk after it
        _in_memory(job.folder / "runs", job.fault.memory)
    if job.fault.clock:
        _set_back(job.fault.clock)
    return _watch(job.folder, job.fault)


def _counted_before(weights: Path) -> dict[tuple[int, int, int], int]:
    """FLOPs of the stand-in's U-Nets, counted by an earlier command: counting takes a second."""
    path = weights.with_name("counts.json")
    return {(a, b, c): flops for a, b, c, flops in json.loads(path.read_text())} if path.exists() else {}


def keep_counts(weights: Path) -> None:
    """Keep the FLOPs that this process has counted for later commands."""
    import standin

    path = weights.with_name("counts.json")
    counts = _counted_before(weights) | standin._counts
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps([[*key, flops] for key, flops in counts.items()]))
    temporary.rename(path)


def _watch(folder: Path, fault: Fault) -> Callable[[], int]:
    """Count the calls of `EVENTS` for paths in `folder`, and let the fault happen at its number."""
    count, lock, opened = 0, threading.Lock(), open
    prefix = str(folder)

    def happen(path: Any) -> None:
        nonlocal count
        name = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.path.abspath(os.fspath(path))
        if not str(name).startswith(prefix):
            return
        with lock:
            count += 1
            is_now = fault.event and (count == fault.event or (fault.error and count > fault.event))
        if is_now and fault.error:
            raise OSError(fault.error, os.strerror(fault.error), None if isinstance(path, int) else str(path))
        if is_now and fault.group:
            os.killpg(0, signal.SIGKILL)
        if is_now:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(function: Callable[..., Any], number: int) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            happen(args[number] if len(args) > number else next(iter(kwargs.values())))
            return function(*args, **kwargs)

        return call

    def open_file(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not isinstance(file, int) and set(mode) & set("wxa+"):
            happen(file)
        return opened(file, mode, *args, **kwargs)

    def open_descriptor(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            happen(path)
        return _os_open(path, flags, *args, **kwargs)

    _os_open = os.open
    for name in EVENTS:
        if name != "open":
            setattr(os, name, watched(getattr(os, name), 1 if name == "symlink" else 0))
    os.open = open_descriptor  # type: ignore[assignment]
    import builtins
    import io

    builtins.open = io.open = open_file  # type: ignore[assignment]
    return lambda: count


def _set_back(seconds: float) -> None:
    """Let Python's clocks of this process be `seconds` late. The file system's clock is not changed."""
    import datetime as module

    real, real_datetime = time.time, module.datetime

    class Late(real_datetime):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real_datetime.now(tz) - module.timedelta(seconds=seconds)

    time.time = lambda: real() - seconds
    for loaded in list(sys.modules.values()):
        if vars(loaded).get("datetime") is real_datetime and loaded.__name__.startswith(PACKAGES):
            loaded.datetime = Late  # type: ignore[attr-defined]


def _in_memory(folder: Path, size: str) -> None:
    """Let this process go on with a tmpfs of `size` in the place of `folder`, with the same contents.

    Its parent, which has only waited, copies the contents back when it has ended, and ends in the same way.
    """
    if ctypes.CDLL(None).unshare(_NEW_MOUNTS):
        raise OSError("no mounts of its own: this needs Linux and the rights of root")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    aside = folder.with_name("aside")
    folder.mkdir(exist_ok=True)
    folder.rename(aside)
    folder.mkdir()
    used = sum(file.stat().st_blocks * 512 for file in aside.rglob("*") if file.is_file() and not file.is_symlink())
    command = ["mount", "-t", "tmpfs", "-o", f"size={used + int(size)}", "none", str(folder)]
    subprocess.run(command, check=True)
    shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
    child = os.fork()
    if child == 0:
        return
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    shutil.rmtree(aside)
    shutil.copytree(folder, aside, symlinks=True)
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()
    aside.rename(folder)
    os._exit(code)
