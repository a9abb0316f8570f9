"""A workbench for a runtime."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import launcher
from benchmark.api.request import Runtime
from benchmark.console import Progress, quiet_libraries
from benchmark.errors import UsageError
from benchmark.testbeds import resolve

if TYPE_CHECKING:
    from benchmark.api.testbed import Workbench


MEETING = ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables by which the processes of a launch find each other."""
PATIENCE = timedelta(days=1)
"""How long processes wait for each other: one scores, or waits for another run's model, while the others have nothing
to do. The launcher ends those that wait for a dead one."""


def workbench_for(runtime: Runtime, home: Path, progress: Progress) -> Workbench:
    """A workbench on the runs folder `home`."""
    return workbench_on(resolve.load(runtime.testbed), runtime, home, progress)


def workbench_on(make: Callable[..., Any], runtime: Runtime, home: Path, progress: Progress) -> Workbench:
    """A workbench with the testbed that `make` gives for a device."""
    import torch
    from accelerate import PartialState

    from benchmark.api.testbed import PictureFiles, Workbench
    from benchmark.hardware import usable
    from benchmark.store.artefacts import Store
    from methods.training.precision import settle

    quiet_libraries()
    missing_variables = [variable for variable in MEETING if variable not in os.environ]
    if launcher.processes() > 1 and missing_variables:
        raise UsageError(
            f"RANK and WORLD_SIZE are set, and {missing_variables[0]} is not, so the processes cannot meet: let "
            "torchrun or accelerate set them, or unset both."
        )
    name = ("cuda" if torch.cuda.is_available() else "cpu") if runtime.device == "auto" else runtime.device
    # The first one made decides for the whole process. The others wait while the first process scores.
    with launcher.hidden_unless_launched():
        state = PartialState(cpu=name == "cpu", **({"timeout": PATIENCE} if launcher.processes() > 1 else {}))
    device = usable(str(state.device) if runtime.device == "auto" else name)
    with progress.stage(f"load testbed {runtime.testbed}", 1, "testbed") as stage:
        testbed = make(device=str(device))
        stage.advance()
    precision: Any = runtime.precision or testbed.precision
    settle(device, precision)
    store = Store(home, testbed.shipped)
    if isinstance(testbed, PictureFiles):
        testbed.picture_checksum(store, "val", progress)  # one that is cut is told before anything is made
    return Workbench(testbed, store, progress, device, runtime.as_published, precision, runtime.compiles, runtime.limit)
