"""The tracker that sends a run to a service, and shields the run from the errors of the service."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from rich.markup import escape

from benchmark.store import durable
from benchmark.tracking.service import Service
from benchmark.tracking.services import SERVICES
from benchmark.tracking.tracker import Tracker, Value, without_folders

if TYPE_CHECKING:
    import numpy as np

    from benchmark.console import Progress


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


def tracker_for(name: str, progress: Progress) -> Tracker:
    """Return the tracker that sends runs to the service `name`."""
    return ServiceTracker(SERVICES[name](), progress)
