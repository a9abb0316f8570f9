"""Runs Python programs in children of one process that has imported torch, diffusers and other large packages.

To import them takes 15 seconds of CPU, which most programs in tests would spend on nothing else. `start` starts that
process, which has imported nothing of this project, and writes an executable that takes the place of `sys.executable`:
`python [-u] -c CODE | -m MODULE | FILE, WORDS...`. It has the environment, folder, standard streams, signals and exit
status of a Python of its own. Tests of what is imported need the real Python.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
import types
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

PACKAGES = (
    "accelerate", "diffusers", "open_clip", "peft", "pyarrow.parquet", "scipy.stats", "torch.distributed.run",
    "torch.utils.flop_counter", "torchmetrics", "torchvision", "transformers", "typer", "rich.progress",
    "diffusers.models.unets.unet_2d_condition", "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion", "transformers.models.clip.modeling_clip",
    "transformers.models.clip.tokenization_clip", "diffusers.schedulers.scheduling_pndm",
    "diffusers.schedulers.scheduling_ddim",
)  # fmt: skip
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CLIENT = """#!{python} -IS
import json, os, signal, socket, struct, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({place!r})
job = json.dumps({{"words": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd()}}).encode()
socket.send_fds(connection, [struct.pack("!I", len(job))], [0, 1, 2])
connection.sendall(job)
for number in {forwarded}:
    signal.signal(number, lambda number, frame: connection.sendall(bytes([number])))
status = int(connection.recv(16) or b"70")
if status < 0:
    signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
    os.kill(os.getpid(), -status)
os._exit(status)
"""


def start(executable: Path) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the process, and write the executable; the process ends when all connections to it are closed.

    Returns:
        a connection, which the caller keeps as long as the executable is needed, and the process.
    """
    place = Path(tempfile.mkdtemp(prefix="warm-python-")) / "socket"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, __file__, str(place)], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
    numbers = tuple(int(number) for number in FORWARDED)
    executable.write_text(CLIENT.format(python=sys.executable, place=str(place), forwarded=numbers))
    executable.chmod(0o755)
    return join(executable), process


def join(executable: Path) -> socket.socket:
    """Connect to the process of an executable that another process has written.

    Raises:
        OSError: if it has ended.
    """
    place = executable.read_text().partition("connect('")[2].partition("'")[0]
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(place)
    return connection


def serve(place: str) -> dict[str, Any]:
    """Start a child for each job. Returns the job, in the child; ends the process when no connection is left."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(64)
    ended, notify = socket.socketpair()
    notify.setblocking(False)
    signal.set_wakeup_fd(notify.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    for waiting in (listener, ended):
        selector.register(waiting, selectors.EVENT_READ)
    print("ready", flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    open_connections: dict[socket.socket, int] = {}
    used = False
    while open_connections or not used:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                open_connections[connection], used = 0, True
                selector.register(connection, selectors.EVENT_READ)
            elif key.fileobj is ended:
                ended.recv(4096)
                report_ended(open_connections)
            elif isinstance(connection := key.fileobj, socket.socket) and connection in open_connections:
                child = open_connections[connection]
                job = None if child else receive(connection)
                if job:
                    open_connections[connection] = os.fork()
                    if open_connections[connection] == 0:
                        for each in (selector, listener, ended, notify, *open_connections):
                            each.close()
                        return job
                    for stream in job["streams"]:
                        os.close(stream)
                elif child > 0 and (number := connection.recv(1)):
                    os.kill(child, number[0])
                else:
                    if child > 0:
                        os.kill(child, signal.SIGKILL)
                    selector.unregister(connection)
                    del open_connections[connection]
                    connection.close()
    os.unlink(place)
    os.rmdir(os.path.dirname(place))
    os._exit(0)


def report_ended(open_connections: dict[socket.socket, int]) -> None:
    """Send the exit status of children that have ended."""
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not child:
            return
        for connection, number in open_connections.items():
            if number == child:
                open_connections[connection] = -1  # there is nothing left to kill
                with suppress(OSError):  # nobody waits for it
                    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """Receive a job and its standard streams; None if the connection was closed."""
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    if not head:
        return None
    with connection.makefile("rb", buffering=0) as file:
        size, text = struct.unpack("!I", head)[0], b""
        while len(text) < size:
            text += file.read(size - len(text)) or b""
    return {**json.loads(text), "streams": streams}


def run(job: dict[str, Any]) -> None:
    """Run a job as its own Python would."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for target, stream in enumerate(job["streams"]):
        os.dup2(stream, target)
        os.close(stream)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    random.seed()
    warnings.resetwarnings()
    for action in filter(None, os.environ.get("PYTHONWARNINGS", "default").split(",")):
        warnings.simplefilter(action)  # type: ignore[arg-type]
    words = job["words"]
    if words[0] == "-u":
        words = words[1:]
        sys.stdout.reconfigure(write_through=True)
    added = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = ["", *added, *sys.path[1:]]
    if any((Path(folder) / "sitecustomize.py").exists() for folder in added):
        __import__("sitecustomize")
    kind, content, *rest = words if words[0] in ("-c", "-m") else ("", *words)
    sys.argv = [kind or content, *rest]
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    if kind == "-c":
        exec(compile(content, "<string>", "exec"), main.__dict__)
    elif kind == "-m":
        runpy.run_module(content, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(content).parent)
        runpy.run_path(content, run_name="__main__")


def finish(job: dict[str, Any]) -> None:
    """Run a job, and end the process as Python does, but leave the modules to the system, which is faster."""
    status: object = 0
    try:
        run(job)
    except SystemExit as ending:
        status = ending.code
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if isinstance(status, str):
        print(status, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status & 255 if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    import gc
    from importlib import import_module

    for package in PACKAGES:
        import_module(package)
    gc.freeze()
    finish(serve(sys.argv[1]))
