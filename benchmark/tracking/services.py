"""The services that `--track` offers, each through the tracker of accelerate. A service is imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import UsageError
from benchmark.tracking.service import Service

if TYPE_CHECKING:
    import numpy as np
    from accelerate.tracking import GeneralTracker

    from benchmark.tracking.tracker import Value

PROJECT = "palimpsest"
"""Project of the runs at Weights & Biases and trackio."""


class TensorBoard(Service):
    """Event files in the runs folder."""

    name = "tensorboard"

    def create(self, run_name: str, run_id: str, folder: Path, config: Mapping[str, Value]) -> GeneralTracker:
        from accelerate.tracking import TensorBoardTracker

        return TensorBoardTracker(run_name, folder)

    def place(self, run_name: str, folder: Path) -> str:
        return f"{folder / run_name} (tensorboard --logdir {folder})"

    def log(self, series: str, values: Mapping[str, float], step: int) -> None:
        self.tracker.log({f"{series}/{name}": value for name, value in values.items()}, step=step)

    def scores(self, values: Mapping[str, float]) -> None:
        self.tracker.log(dict(values), step=0)

    def pictures(self, name: str, pictures: Sequence[np.ndarray]) -> None:
        import numpy as np

        self.tracker.log_images({name: np.stack(pictures)}, step=0, dataformats="NHWC")  # type: ignore[attr-defined]


class WandB(Service):
    """Weights & Biases, as its own variables configure it, for example WANDB_MODE=offline."""

    name = "wandb"

    def __init__(self) -> None:
        super().__init__()
        self._series: set[str] = set()

    def create(self, run_name: str, run_id: str, folder: Path, config: Mapping[str, Value]) -> GeneralTracker:
        from accelerate.tracking import WandBTracker

        folder.mkdir(parents=True, exist_ok=True)
        self._series.clear()
        options = {"console": "off"}  # do not capture standard output and error
        return WandBTracker(PROJECT, id=run_id, name=run_name, resume="allow", dir=str(folder), settings=options)

    def place(self, run_name: str, folder: Path) -> str:
        run = self.tracker.tracker
        return f"run {run_name} of project {PROJECT} in {folder if run.offline else run.url}"

    def log(self, series: str, values: Mapping[str, float], step: int) -> None:
        if series not in self._series:
            self._series.add(series)
            self.tracker.tracker.define_metric(f"{series}/*", step_metric=f"{series}/step")
        super().log(series, values, step)

    def pictures(self, name: str, pictures: Sequence[np.ndarray]) -> None:
        self.tracker.log_images({name: list(pictures)})  # type: ignore[attr-defined]


class Trackio(Service):
    """trackio, which stores runs in its own folder on this machine (TRACKIO_DIR)."""

    name = "trackio"
    _name = ""

    def create(self, run_name: str, run_id: str, folder: Path, config: Mapping[str, Value]) -> GeneralTracker:
        from accelerate.tracking import TrackioTracker

        options = {"resume": "allow", "embed": False, "auto_log_cpu": False, "auto_log_gpu": False}
        self._name = f"{run_name}-{run_id[:6]}"  # trackio knows runs by their names alone
        return TrackioTracker(PROJECT, name=self._name, config=dict(config), **options)

    def settings(self, config: Mapping[str, Value]) -> None:
        """Do nothing: trackio stores only the settings that it gets at the start, also of a continued run."""

    def place(self, run_name: str, folder: Path) -> str:
        return f"run {self._name} of project {PROJECT} (trackio show --project {PROJECT})"

    def pictures(self, name: str, pictures: Sequence[np.ndarray]) -> None:
        import trackio

        self.tracker.log({f"{name}/{k}": trackio.Image(picture) for k, picture in enumerate(pictures)})


SERVICES: dict[str, type[Service]] = {service.name: service for service in (TensorBoard, WandB, Trackio)}
"""Services by their name for `--track`."""


def check_installed(name: str) -> None:
    """Raise UsageError if the package of the service `name` is not installed."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:  # without an origin it is only a folder of this name
        raise UsageError(f"--track {name} needs the package {name}: install it with `uv sync --extra {name}`.")
