"""The services that `--track` offers, each through the tracker of accelerate. A service is imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmark.errors import UsageError
from benchmark.tracking.tracker import ServiceTracker, Tracker, Value

if TYPE_CHECKING:
    import numpy as np
    from accelerate.tracking import GeneralTracker

    from benchmark.console import Progress

PROJECT = "palimpsest"
"""Project of the runs at Weights & Biases and trackio."""


class Service:
    """A tracking service. All methods may raise any error of the service.

    By default, values are logged without a step, because the steps of a service must not decrease, while each training
    of a run starts at step 0. The training step is a value of its own, `<series>/step`.
    """

    name: ClassVar[str]
    """Its name for `--track`, and that of its package and of the extra that installs it."""

    def __init__(self) -> None:
        self._open: GeneralTracker | None = None

    @property
    def tracker(self) -> GeneralTracker:
        """The tracker of accelerate, after `open`."""
        assert self._open is not None
        return self._open

    def open(self, run_name: str, run_id: str, folder: Path, config: Mapping[str, Value], is_new: bool) -> None:
        """Begin the run with the service's `run_id`, and store its settings; or continue it, if it is not new.

        `folder` is for local files.
        """
        self._open = self.create(run_name, run_id, folder, config)
        self._open.start()
        if is_new:
            self.settings(config)

    def create(self, run_name: str, run_id: str, folder: Path, config: Mapping[str, Value]) -> GeneralTracker:
        """Return the tracker of accelerate, which has not started yet; arguments as in `open`."""
        raise NotImplementedError

    def place(self, run_name: str, folder: Path) -> str:
        """Describe where the run can be seen."""
        raise NotImplementedError

    def settings(self, config: Mapping[str, Value]) -> None:
        """Store the settings of a new run."""
        self.tracker.store_init_configuration(dict(config))

    def log(self, series: str, values: Mapping[str, float], step: int) -> None:
        """Log values of a training step; arguments as in `Tracker.log`."""
        self.tracker.log({f"{series}/step": step, **{f"{series}/{name}": value for name, value in values.items()}})

    def scores(self, values: Mapping[str, float]) -> None:
        """Log the final scores."""
        self.tracker.log(dict(values))

    def pictures(self, name: str, pictures: Sequence[np.ndarray]) -> None:
        """Log pictures uint8 (H, W, 3) of equal size."""
        raise NotImplementedError

    def finish(self) -> None:
        """End the run."""
        self.tracker.finish()
        self._open = None


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


def tracker_for(name: str, progress: Progress) -> Tracker:
    """Return the tracker that sends runs to the service `name`."""
    return ServiceTracker(SERVICES[name](), progress)


def check_installed(name: str) -> None:
    """Raise UsageError if the package of the service `name` is not installed."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:  # without an origin it is only a folder of this name
        raise UsageError(f"--track {name} needs the package {name}: install it with `uv sync --extra {name}`.")
