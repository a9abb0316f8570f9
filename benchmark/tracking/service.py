"""The base class of the services that `--track` offers: a thin layer over a tracker of accelerate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from accelerate.tracking import GeneralTracker

    from benchmark.tracking.tracker import Value


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
