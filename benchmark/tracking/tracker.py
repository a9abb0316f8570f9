"""The interface of trackers, and the tracker that shields a run from the errors of a third-party service."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from rich.markup import escape

from benchmark.store import durable

if TYPE_CHECKING:
    import numpy as np

    from benchmark.console import Progress
    from benchmark.tracking.services import Service

Value = str | int | float | bool
"""A value that every service accepts."""


def without_folders(label: str) -> str:
    """Return a label of a model with files named without their folders: "my/a.py:A (seed 1)" -> "a.py:A (seed 1)"."""
    return re.sub(r"[^\s=,()]*/", "", label)


class Tracker:
    """Receives the settings, losses, scores and pictures of runs. This base class discards them."""

    @property
    def active(self) -> bool:
        """Whether anything is sent."""
        return False

    def start(self, run_name: str, config: Mapping[str, Value], folder: Path) -> None:
        """Begin a run of the service, or continue the one that an interrupted command has begun.

        Args:
            run_name: its name, which can be the name of a file, the same whenever the command is repeated.
            config: the settings of the run.
            folder: folder for local files of the service; it need not exist.
        """

    def log(self, series: str, values: Mapping[str, float], step: int) -> None:
        """Send values of one training step.

        Args:
            series: name of the model that is trained.
            values: values by name, such as "lower/loss".
            step: number of finished training steps of this model.
        """

    def scores(self, values: Mapping[str, float]) -> None:
        """Send the final scores by name."""

    def pictures(self, name: str, load: Callable[[], Sequence[np.ndarray]]) -> None:
        """Send pictures under one name. `load` returns them as uint8 (H, W, 3), all of one size."""

    def finish(self) -> None:
        """End the run of the service."""


class ServiceTracker(Tracker):
    """Sends a run to a service. The first error of the service ends the tracking with one warning, but not the run.

    Args:
        service: the service to send to.
        progress: display for the lines that say where the run is tracked, and the warning.
    """

    def __init__(self, service: Service, progress: Progress) -> None:
        self._service, self._progress = service, progress
        self._stopped, self._started = False, False

    @property
    def active(self) -> bool:
        return not self._stopped

    def start(self, run_name: str, config: Mapping[str, Value], folder: Path) -> None:
        def begin() -> None:
            own_folder = folder / self._service.name
            earlier = _stored_id(own_folder, run_name)
            run_id = earlier or token_hex(8)
            self._service.open(run_name, run_id, own_folder, config, earlier is None)
            self._started = True
            if earlier is None:
                durable.write_bytes(_id_file(own_folder, run_name), json.dumps({"id": run_id}).encode())
            continued = "" if earlier is None else ", continued"
            self._progress.say(escape(f"tracking  {self._service.place(run_name, own_folder)}{continued}"))

        if not self._stopped:
            self._attempt(begin)

    def log(self, series: str, values: Mapping[str, float], step: int) -> None:
        if self._started:
            self._attempt(lambda: self._service.log(without_folders(series), values, step))

    def scores(self, values: Mapping[str, float]) -> None:
        if self._started:
            self._attempt(lambda: self._service.scores(values))

    def pictures(self, name: str, load: Callable[[], Sequence[np.ndarray]]) -> None:
        def send() -> None:
            if pictures := load():
                self._service.pictures(name, pictures)

        if self._started:
            self._attempt(send)

    def finish(self) -> None:
        if self._started:
            self._started = False
            self._attempt(self._service.finish)

    def _attempt(self, action: Callable[[], None]) -> None:
        """Call the service. Its output goes to standard error, because tables are on standard output."""
        try:
            with redirect_stdout(sys.stderr):
                action()
        except (Exception, SystemExit) as error:
            self._stopped, self._started = True, False
            lines = str(error).strip().splitlines()
            reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
            self._progress.warn(f"tracking stopped: {reason}; the run goes on without it")


def _id_file(folder: Path, run_name: str) -> Path:
    return folder / "ids" / f"{run_name}.json"


def _stored_id(folder: Path, run_name: str) -> str | None:
    """Return the service's id of a run that an earlier command has begun; None if there is none."""
    try:
        return str(json.loads(_id_file(folder, run_name).read_bytes())["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
