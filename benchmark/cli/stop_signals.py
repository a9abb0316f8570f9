"""Lets a command that receives SIGTERM or SIGHUP end like one that is interrupted by Ctrl-C.

Schedulers and service managers send SIGTERM, and a terminal that is closed sends SIGHUP. By default, Python ends at
once: temporary files stay until the next start, nothing is printed, and runs that `bench campaign` has started go on.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from benchmark import launcher
from benchmark.errors import Stopped

SIGNALS = ("SIGTERM", "SIGHUP")


def install() -> None:
    """Raise `Stopped` in the main thread when one of `SIGNALS` arrives for the first time; the next one ends at once.

    Signals that are ignored, as under nohup, stay ignored. In processes of a launcher, signals keep their default
    action: such a process can wait inside a collective operation, where no Python code runs.
    """
    if launcher.processes() > 1 or threading.current_thread() is not threading.main_thread():
        return
    process = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        for known_number in numbers:
            signal.signal(known_number, signal.SIG_DFL)
        if os.getpid() != process:  # a child that inherited this function, such as a worker that reads pictures
            os.kill(os.getpid(), number)
            return
        raise Stopped(number)

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, stop)
