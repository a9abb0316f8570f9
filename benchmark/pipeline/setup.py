"""Sets up a workbench: device, precision, testbed, store and process group."""

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


RENDEZVOUS_VARIABLES = ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that the processes of a distributed run need to connect to each other."""
PROCESS_GROUP_TIMEOUT = timedelta(days=1)
"""Timeout of the process group. It is long because all processes wait while one of them scores, or waits for a model
that another run is training. If a process dies, the launcher ends the others."""


def workbench_for(runtime: Runtime, home: Path, progress: Progress) -> Workbench:
    """Create a workbench for a runtime, with `home` as its runs folder."""
    return workbench_on(resolve.load(runtime.testbed), runtime, home, progress)


def workbench_on(make: Callable[..., Any], runtime: Runtime, home: Path, progress: Progress) -> Workbench:
    """Create a workbench with the testbed that `make(device=...)` returns.

    Raises:
        UsageError: if the environment variables of a distributed run are incomplete.
    """
    import torch
    from accelerate import PartialState

    from benchmark.api.testbed import PictureFiles, Workbench
    from benchmark.hardware import usable
    from benchmark.store import claims
    from benchmark.store.artefacts import Store
    from methods.training.precision import settle
    from methods.training.prefetch import automatic_workers

    quiet_libraries()
    missing_variables = [variable for variable in RENDEZVOUS_VARIABLES if variable not in os.environ]
    if launcher.processes() > 1 and missing_variables:
        raise UsageError(
            f"RANK and WORLD_SIZE are set, but {missing_variables[0]} is not, so the processes cannot connect: start "
            "the run with torchrun or accelerate, or unset RANK and WORLD_SIZE."
        )
    name = ("cuda" if torch.cuda.is_available() else "cpu") if runtime.device == "auto" else runtime.device
    # PartialState is a singleton: its first instance fixes the device for the whole process.
    with launcher.hidden_unless_launched():
        state = PartialState(
            cpu=name == "cpu", **({"timeout": PROCESS_GROUP_TIMEOUT} if launcher.processes() > 1 else {})
        )
    device = usable(str(state.device) if runtime.device == "auto" else name)
    with progress.stage(f"load testbed {runtime.testbed}", 1, "testbed") as stage:
        testbed = make(device=str(device))
        stage.advance()
    precision: Any = runtime.precision or testbed.precision
    settle(device, precision)
    store = Store(home, testbed.shipped)
    claims.remove_finished(store)
    if isinstance(testbed, PictureFiles):
        testbed.picture_checksum(store, "val", progress)  # reports truncated pictures before any computation
    workers = runtime.workers
    if workers is None:
        workers = automatic_workers(device, launcher.processes())
    return Workbench(
        testbed, store, progress, device, runtime.as_published, precision, runtime.compiles, runtime.limit, workers
    )
