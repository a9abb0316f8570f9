"""Sends the settings, final scores and sample pictures of a run to a tracker."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import registry
from benchmark.api.request import Outcome, RunRequest
from benchmark.store import manifest
from benchmark.store.listing import visible
from benchmark.suites.load import is_file
from benchmark.tracking.tracker import without_folders

if TYPE_CHECKING:
    import numpy as np

    from benchmark.api.model import Model
    from benchmark.records.record import Record
    from benchmark.suites.load import SuiteInRun
    from benchmark.tracking.tracker import Tracker, Value

SHOWN = 8
"""Number of pictures of each suite that are sent."""
NOT_SENT = ("runs", "device", "along", "overrides", "targets", "metrics", "reveal")
"""Fields of a request that are not sent as they are: paths, and collections that are sent in another form."""


@contextmanager
def tracked(tracker: Tracker, request: RunRequest, model: Model, home: Path) -> Iterator[None]:
    """Track a run within the block. Nothing of it is part of store keys or records.

    Args:
        tracker: where to send it.
        request: the run.
        model: the model that the request names.
        home: the runs folder.
    """
    config = settings(request)
    tracker.start(
        run_name(request),
        {**config, "label": without_folders(model.label), "model": model_id(model)},
        home / "tracking",
    )
    try:
        yield
    finally:
        tracker.finish()


def run_name(request: RunRequest) -> str:
    """Return the name of a run for trackers, the same for every repetition of its command. It can name a file."""
    config = settings(request)
    digest = hashlib.sha256(manifest.canonical(config).encode()).hexdigest()[:8]
    words = [request.testbed, request.method, request.suite, f"seed{request.seed}"]
    return re.sub(r"[^A-Za-z0-9._+-]", "-", "-".join([*map(_without_folder, words), digest]))


def settings(request: RunRequest) -> dict[str, Value]:
    """Return the settings of a run as plain values. Files are given by their names, without folders."""
    fields = {key: value for key, value in asdict(request).items() if key not in NOT_SENT}
    config: dict[str, Value] = {
        key: _without_folder(value) if isinstance(value, str) else value
        for key, value in fields.items()
        if isinstance(value, str | int | float)
    }
    config |= {f"set/{key}": str(value) for key, value in registry.resolved(request.overrides).items()}
    config |= {"targets": ", ".join(request.targets), "metrics": ", ".join(map(_without_folder, request.metrics))}
    return config


def model_id(model: Model) -> str:
    """Return the first digits of a model's store key, as records and tables show it."""
    from benchmark.store.artefacts import key_of

    return key_of("model", model.identity)[:8]


def send_results(
    tracker: Tracker, outcome: Outcome, suites: Mapping[str, SuiteInRun], model: Model, home: Path
) -> None:
    """Send the scores of all records, and sample pictures of the model. Explicit pictures are never sent.

    Args:
        tracker: where to send them.
        outcome: the result of the run.
        suites: the suites of the run by their names.
        model: the model that the request names.
        home: the runs folder.
    """
    if not tracker.active:
        return
    for record in outcome.records:
        is_own = record.model_id == model_id(model)
        tracker.scores(_scores(record, is_own))
        if is_own and not suites[record.suite].explicit:
            tracker.pictures(f"pictures/{record.suite}", partial(_pictures, record, home))


def _scores(record: Record, is_own: bool) -> dict[str, float]:
    """Return the scores of a record by name; those of the requested model with intervals, and with its cost."""
    prefix = "scores" if is_own else f"scores of {without_folders(record.label)}"
    values: dict[str, float] = {}
    for name, cell in record.cells.items():
        if cell.value is None:
            continue
        values[f"{prefix}/{record.suite}/{name}"] = cell.value
        if is_own:
            values[f"{prefix}/{record.suite}/{name} n"] = cell.n
        if is_own and cell.ci is not None:
            low, high = cell.ci
            values |= {f"{prefix}/{record.suite}/{name} low": low, f"{prefix}/{record.suite}/{name} high": high}
    if is_own and record.ledger:
        for quantity in ("flops", "iterations", "wall_seconds"):
            values[f"cost/{quantity}"] = sum(float(str(entry.get(quantity) or 0)) for entry in record.ledger)
    return values


def _pictures(record: Record, home: Path) -> list[np.ndarray]:
    """Return up to `SHOWN` pictures of a record as uint8 (H, W, 3), spread over its prompts; all have the first's size.

    Only files that the store has as pictures of a suite without explicit content are read.
    """
    import numpy as np
    from PIL import Image

    files = [path for path in visible(home / str(record.images), "*.png") if path.resolve().parents[1].name == "images"]
    spread = [files[k * len(files) // SHOWN] for k in range(SHOWN)] if len(files) > SHOWN else files
    arrays = [np.asarray(Image.open(path, formats=("PNG",)).convert("RGB")) for path in spread]
    return [array for array in arrays if array.shape == arrays[0].shape]


def _without_folder(text: str) -> str:
    """Return the last part of a path; other texts, such as names, are returned unchanged."""
    return Path(text).name if is_file(text) or registry.is_file(text) else text
