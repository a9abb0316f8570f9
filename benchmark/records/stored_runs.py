"""Lists what a runs folder contains: trained models with their files and records, unfinished trainings, other files.

Only manifests and records are read, no artefact and no weights, so thousands of artefacts take seconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import RecordError, without_controls
from benchmark.json_types import Identity
from benchmark.records.record import SUFFIX, Record, read_record
from benchmark.store import disk, manifest
from benchmark.store.artefacts import key_of
from benchmark.store.checkpoints import newest_step, read_label
from benchmark.store.listing import statuses_below, visible
from benchmark.store.paths import records_folder

WEIGHTS, PICTURES, FEATURES = ("model",), ("images", "explicit-images"), ("features", "seen")
KINDS = {"weights": WEIGHTS, "pictures": PICTURES, "features": FEATURES, "checkpoints": (), "stages": ()}
"""Kinds of files for display, with the kinds of artefacts in them. Checkpoints are partial results of trainings;
stages are all artefacts that belong to no single model, such as pruned networks and training data."""
ID_LENGTH = 8
_LIMIT = re.compile(r", (as published|limit \d+)")
"""What labels of records add to the label of their model."""


@dataclass(frozen=True)
class StoredPart:
    """An artefact, or the folder of the checkpoints of an unfinished computation."""

    folder: Path
    kind: str
    """Kind of the artefact; "checkpoints" for partial results."""
    key: str
    bytes: int
    written: float
    """Time of the last change, in seconds since 1970."""
    identity: Identity = field(default_factory=dict)


@dataclass
class StoredRun:
    """A model, with everything that the runs folder has of it."""

    key: str
    """Key of the model in the store; its first digits are the id of the run."""
    label: str = ""
    parts: list[StoredPart] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    record_files: list[Path] = field(default_factory=list)
    """The files of `records`, in the same order."""
    recorded: float = 0.0
    """Time of the last change of a record, in seconds since 1970; 0 without records."""
    needed_by: list[str] = field(default_factory=list)
    """Keys of the models that start from this one, or whose scores are relative to it."""
    step: int = 0
    """Finished steps of an unfinished training."""

    @property
    def id(self) -> str:
        return self.key[:ID_LENGTH]

    @property
    def is_partial(self) -> bool:
        """Whether its training was interrupted, or is running."""
        kinds = {part.kind for part in self.parts}
        return "checkpoints" in kinds and not kinds & {"model", "cost"}

    @property
    def bytes(self) -> int:
        """Size of its artefacts and checkpoints, without records."""
        return sum(part.bytes for part in self.parts)

    @property
    def written(self) -> float:
        """Time of the last change of any part or record, in seconds since 1970."""
        return max([self.recorded, *(part.written for part in self.parts)])

    @property
    def identity(self) -> Identity:
        """The model's identity; empty if its weights and its cost are not stored."""
        return next((part.identity for part in self.parts if part.kind in ("model", "cost")), {})


@dataclass(frozen=True)
class Inventory:
    """The contents of a runs folder."""

    home: Path
    runs: list[StoredRun]
    """Sorted by the time of their last change, the newest first."""
    stages: list[StoredPart]
    """Artefacts that belong to no single model."""
    broken: list[str]
    """Sentences about records that cannot be read."""


def read_inventory(home: Path) -> Inventory:
    """Read the contents of a runs folder. Damaged manifests are skipped; damaged records are listed in `broken`."""
    runs: dict[str, StoredRun] = {}
    stages: list[StoredPart] = []
    owners: dict[str, str] = {}  # key of the model by key of its pictures
    parts = list(_artefacts(home))
    for part in parts:
        if part.kind in PICTURES and "model" in part.identity:
            owners[part.key] = str(part.identity["model"])
    for part in (*parts, *_checkpoints(home)):
        owner = _owner(part, owners)
        if owner:
            runs.setdefault(owner, StoredRun(owner)).parts.append(part)
        else:
            stages.append(part)
    broken = _add_records(home, runs)
    for run in runs.values():
        labels = sorted((_LIMIT.sub("", record.label) for record in run.records), key=len)
        run.label = labels[0] if labels else _label_of(run)
        run.step = max((newest_step(part.folder) for part in run.parts if part.kind == "checkpoints"), default=0)
    _add_needs(runs)
    return Inventory(home, sorted(runs.values(), key=lambda run: -run.written), stages, broken)


def _artefacts(home: Path) -> Iterator[StoredPart]:
    for path in visible(home / "artefacts", f"*/*/{manifest.MANIFEST}"):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            header = json.loads(path.read_bytes())
            size = sum(int(entry["bytes"]) for entry in header["files"].values())
            stat = path.stat()
            yield StoredPart(
                path.parent, path.parent.parent.name, path.parent.name, size + stat.st_size, stat.st_mtime,
                dict(header["identity"]),
            )  # fmt: skip


def _checkpoints(home: Path) -> Iterator[StoredPart]:
    """Yield the folders of partial results. Their identity has the kind of the artefact that they belong to."""
    for folder in visible(home / "scratch", "*/*"):
        with suppress(OSError):
            times = [folder.stat().st_mtime, *(status.st_mtime for _, status in statuses_below(folder))]
            kind = folder.parent.name
            yield StoredPart(folder, "checkpoints", folder.name, disk.taken(folder), max(times), {"of": kind})


def _owner(part: StoredPart, owners: dict[str, str]) -> str:
    """Return the key of the model that a part belongs to; empty if there is none."""
    if part.kind == "model" or part.identity.get("of") == "model":
        return part.key
    if part.kind == "cost":
        return key_of("model", part.identity)
    if part.kind in PICTURES:
        return owners.get(part.key, "")
    if part.kind in FEATURES:
        return next((owners[key] for key in part.identity.get("images", ()) if key in owners), "")
    return ""


def _add_records(home: Path, runs: dict[str, StoredRun]) -> list[str]:
    """Add each record to the run of its model, and return sentences about records that cannot be read."""
    broken = []
    by_id = {key[:ID_LENGTH]: key for key in runs}
    for path in visible(records_folder(home), "**/*" + SUFFIX):
        try:
            record, written = read_record(path), path.stat().st_mtime
        except (RecordError, OSError) as error:
            broken.append(str(error))
            continue
        key = record.model_key or by_id.get(record.model_id, record.model_id) or record.stem
        run = runs.setdefault(key, StoredRun(key))
        run.records.append(record)
        run.record_files.append(path)
        run.recorded = max(run.recorded, written)
    return broken


def _label_of(run: StoredRun) -> str:
    """Return a label of a run without records."""
    method, seed = run.identity.get("method"), run.identity.get("seed")
    if method:
        return without_controls(f"{method} (seed {seed})" if seed else str(method))
    labels = [read_label(part.folder) for part in run.parts if part.kind == "checkpoints"]
    return without_controls(next(filter(None, labels), "unknown model"))


def _add_needs(runs: dict[str, StoredRun]) -> None:
    """Fill `needed_by`.

    The base is needed by all runs of its testbed. Any other run is needed by the runs that start from its model, and
    by those whose scores are relative to it, except the base, which each run scores anew.
    """
    bases = [run for run in runs.values() if any(record.method == "base" for record in run.records)]
    for run in runs.values():
        if run in bases:
            continue
        needed = {str(run.identity.get("start")), *(record.reference_key for record in run.records)}
        testbeds = {record.testbed for record in run.records}
        needed |= {base.key for base in bases if testbeds & {record.testbed for record in base.records}}
        for key in needed & runs.keys() - {run.key}:
            runs[key].needed_by.append(run.key)


def stage_sizes(stages: Sequence[StoredPart]) -> dict[str, tuple[int, int, float]]:
    """Return number, bytes and time of the last change of stages by their kind."""
    sizes: dict[str, tuple[int, int, float]] = {}
    for part in stages:
        count, size, written = sizes.get(part.kind, (0, 0, 0.0))
        sizes[part.kind] = (count + 1, size + part.bytes, max(written, part.written))
    return sizes
