"""The interface of trackers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

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
