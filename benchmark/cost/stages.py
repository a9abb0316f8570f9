"""Measures the stages of a complete run: when each one started, how long it took, and how many cores were busy.

Idle cores show that a stage waits for something. Images are decoded and scored while others are still being sampled,
so the times of the `look` stages contain only the remaining scoring.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from benchmark.api.request import RunRequest
from benchmark.console import Progress
from benchmark.json_types import JsonObject
from benchmark.pipeline import run
from benchmark.records import provenance

SEED = 1000
"""A training seed without shipped artefacts, so that everything is computed."""
BETWEEN = "between stages"
"""Name of the row for everything outside of stages: loading, scoring, records, the contact sheet."""


class StageRow(TypedDict):
    """The time of a stage."""

    stage: str
    began: float
    """Seconds after the start of the run."""
    seconds: float
    cores: float
    """CPU time of the process divided by `seconds`."""


def measured(request: RunRequest) -> JsonObject:
    """Run `request` in an empty folder, which is removed afterwards, and return the times, ready for JSON.

    The result has one row per stage, in order, and the totals of the run (see `StageRow` for units).
    """
    import torch

    request.runs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".stages-", dir=request.runs) as folder, Progress() as progress:
        began, spent = time.perf_counter(), time.process_time()
        run.run(replace(request, runs=Path(folder), seed=SEED), progress)
        seconds, cpu = time.perf_counter() - began, time.process_time() - spent
    rows = [_row(past.name, past.began - began, past.seconds, past.cpu) for past in progress.past]
    covered = [(past.seconds, past.cpu) for past in progress.past]
    rows.append(_row(BETWEEN, 0.0, seconds - sum(s for s, _ in covered), cpu - sum(c for _, c in covered)))
    return {
        "testbed": request.testbed,
        "device": request.device,
        "threads": torch.get_num_threads(),
        "cores_here": os.cpu_count(),
        "seconds": seconds,
        "cores": cpu / seconds,
        "rows": rows,
        "made": provenance.collect(),
    }


def _row(stage: str, began: float, seconds: float, cpu: float) -> StageRow:
    return {"stage": stage, "began": began, "seconds": seconds, "cores": cpu / seconds if seconds > 0 else 0.0}
