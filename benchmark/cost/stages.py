"""A whole run, stage by stage: when each began, how long it took, and how many cores worked meanwhile.

A stage that waits for something shows as one with idle cores. Pictures are decoded and looked at while others are
sampled, so what the `look` stages take is only what was left to do.
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
"""A training seed of which nothing is shipped, so that everything is made."""
BETWEEN = "between stages"
"""Row of all that no stage covers: loading, scoring, records, the contact sheet."""


class StageRow(TypedDict):
    """How long a stage took."""

    stage: str
    began: float
    """Seconds after the start of the run."""
    seconds: float
    cores: float
    """CPU time of the process over the time."""


def measured(request: RunRequest) -> JsonObject:
    """The run from an empty folder, which is removed: rows of stages in order, and figures of the whole (JSON-ready).

    Times are in seconds, `began` from the start of the run; `cores` is the CPU time of the process over the time.
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
