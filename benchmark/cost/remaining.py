"""Lists the steps of a run before it starts: what the store has, what is to do, and hours and disk of what is to do.

Nothing is written into the runs folder: the run is prepared in a temporary folder that reads its artefacts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmark.api.request import RunRequest, parse_budget
from benchmark.cost.step_hours import Estimator
from benchmark.cost.workload import is_contained
from benchmark.pipeline import run_cache
from benchmark.pipeline.run import Rows, Scoring, rows_of
from benchmark.records.record import refuse_newer
from benchmark.store import disk, durable
from benchmark.store.artefacts import Store, key_of
from benchmark.store.checkpoints import newest_step
from benchmark.store.paths import records_folder

if TYPE_CHECKING:
    from benchmark.api.model import Model
    from benchmark.console import Progress
    from benchmark.models.plan import Plan
    from benchmark.models.pruned import Pruned
    from benchmark.suites.load import SuiteInRun

COPIED = ("prompts", "checksums")
"""Folders of the runs folder that are copied for the preparation: prompt lists, and checksums of the user's files."""

LEAST = 0.001
"""Share that is to do of a step that is almost finished."""


@dataclass(frozen=True)
class Step:
    """A step of a run."""

    what: str
    key: str
    """The same for equal steps of several runs."""
    status: str
    """For display: "done", "to do", or how much of it is done."""
    left: float
    """Share that is to do, 0 (done) to 1."""
    hours: float | None
    """Hours of what is to do; None if they are not known."""
    disk: float
    """Bytes that it will write."""


@dataclass(frozen=True)
class Preview:
    """The steps of a run, and sentences about the estimated hours."""

    steps: list[Step]
    notes: list[str]

    @property
    def hours(self) -> float | None:
        """Hours of all steps; None if those of a step are not known."""
        hours = [step.hours for step in self.steps]
        return None if None in hours else sum(hour for hour in hours if hour is not None)

    @property
    def disk(self) -> float:
        """Bytes that all steps write."""
        return sum(step.disk for step in self.steps)


def preview(request: RunRequest, progress: Progress, planned: set[str]) -> Preview:
    """Return the steps of a run, after all checks that the run makes before its work.

    Args:
        request: the run.
        progress: progress display.
        planned: keys of steps of earlier runs of the same command; those of this run are added.

    Raises:
        PalimpsestError: the run would be refused.
    """
    home = request.runs
    _check_writable(home)
    refuse_newer(records_folder(home))
    with _copy_to_read(home) as folder:
        scoring = Scoring.of(replace(request, runs=folder), folder, progress)
        store = Store(folder, (home / "artefacts", *scoring.bench.testbed.shipped))
        scoring = replace(scoring, bench=replace(scoring.bench, store=store))
        notes: list[str] = []
        estimator = Estimator.of(request, notes)
        rows = rows_of(scoring, request, lambda run_request: _plan(scoring, run_request, estimator, notes))
        steps = []
        for step in _steps(scoring, rows, request, estimator):
            if step.left and step.key in planned:
                steps.append(replace(step, status="done by a run above", left=0.0, hours=0.0, disk=0.0))
            else:
                steps.append(step)
            planned.add(step.key)
        for plan in rows.plans:
            planned |= {_training_key(scoring, shorter) for shorter in plan.along}  # stored on the way
    result = Preview(steps, notes)
    disk.check({home: result.disk}, "This run")
    return result


def _check_writable(home: Path) -> None:
    """Raise StoreError if the runs folder cannot be created or written."""
    existing = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    with durable.storing(home):
        if not existing.is_dir():
            raise NotADirectoryError(20, "Not a directory", str(existing))
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied", str(existing))


@contextmanager
def _copy_to_read(home: Path) -> Iterator[Path]:
    """Yield a temporary runs folder with copies of the small files of `home` that a preparation reads."""
    with TemporaryDirectory(prefix="palimpsest-") as folder:
        for name in COPIED:
            if (home / name).is_dir():
                shutil.copytree(home / name, Path(folder) / name)
        yield Path(folder)


def _plan(scoring: Scoring, request: RunRequest, estimator: Estimator | None, notes: list[str]) -> Plan:
    """Return the plan of a request. A budget in hours is converted with the assumed speed, without a measurement."""
    from benchmark.models.plan import plan_of, planned

    budget = parse_budget(request.budget)
    if budget is None or budget.unit != "seconds":
        return plan_of(scoring.bench, request, scoring.concept)

    def flops_in(pruned: Pruned, seconds: float) -> float:
        return seconds * (estimator.speeds.of("lower") if estimator else 1e12)

    note = "the run measures how many FLOPs its budget in hours is, so the store can have more of it than is listed"
    if note not in notes:
        notes.append(note)
    testbed = scoring.bench.testbed
    return planned(request, scoring.concept, testbed.default_flops, flops_in, testbed.preset)


def _training_key(scoring: Scoring, plan: Plan) -> str:
    from benchmark.models.plan import identity

    return key_of("model", identity(scoring.bench, plan))


def _steps(scoring: Scoring, rows: Rows, request: RunRequest, estimator: Estimator | None) -> Iterator[Step]:
    """Yield the steps of a run in their order."""
    bench = scoring.bench
    pruned = rows.plans[-1].pruned
    identity = pruned.identity(bench)
    has_pruned = bench.store.has("pruned", identity)
    parameters = sum(parameter.numel() for parameter in bench.testbed.base().parameters())
    hours = 0.0 if has_pruned else estimator.pruning() if estimator else None
    size = 0.0 if has_pruned else disk.weights(parameters * pruned.macs, half=False)
    yield _whole(f"prune to {pruned.macs:.0%} MACs", key_of("pruned", identity), has_pruned, hours, size)

    trainings = list(_trainings(scoring, rows, request, estimator, parameters))
    to_train = [step for step in trainings if step.left]
    if to_train:
        images = estimator.data() if estimator else None
        yield Step("prepare training data", f"data {scoring.concept.targets}", "to do unless stored", 1.0, images, 0.0)
        most = max(disk.checkpoints(parameters * plan.pruned.macs) for plan in rows.plans)
        trainings[trainings.index(to_train[0])] = replace(to_train[0], disk=to_train[0].disk + most)
    yield from trainings
    for suite in scoring.suites:
        for model in rows.models:
            yield _pictures(scoring, model, suite, estimator)
    finished = run_cache.find(request) is not None
    yield _whole("score, write records", f"records of {rows.models[-1].label}", finished, 0.0, 0.0)


def _whole(what: str, key: str, done: bool, hours: float | None, size: float) -> Step:
    """Return a step that is either done or to do."""
    return Step(what, key, "done" if done else "to do", 0.0 if done else 1.0, hours, size)


def _trainings(
    scoring: Scoring, rows: Rows, request: RunRequest, estimator: Estimator | None, parameters: int
) -> Iterator[Step]:
    """Yield the trainings of a run. A first stage that the store has, or that another training passes, is left out."""
    from benchmark.models.fitted import Fitted

    bench = scoring.bench
    for plan in rows.plans:
        model = Fitted(bench, plan)
        missing = not bench.store.has("cost", model.identity)
        first = plan.first
        if missing and first is not None and not any(is_contained(first, longer) for longer in rows.plans[:-1]):
            start = Fitted(bench, first)
            yield _training(scoring, first, start, request, estimator, parameters, f" (start of {model.label})")
        yield _training(scoring, plan, model, request, estimator, parameters)


def _training(
    scoring: Scoring, plan: Plan, model: Model, request: RunRequest, estimator: Estimator | None, parameters: int,
    detail: str = "",
) -> Step:  # fmt: skip
    key, what = key_of("model", model.identity), f"train {model.label}{detail}"
    if scoring.bench.store.has("cost", model.identity):
        return Step(what, key, "done", 0.0, 0.0, 0.0)
    hours, step_count = estimator.training(plan) if estimator else (None, 0)
    done = newest_step(request.runs / "scratch" / "model" / key)
    left = max(0.0, 1 - done / step_count) if step_count else 1.0
    of_count = f" of {step_count}" if step_count else ""
    status = f"resumes after step {done}{of_count}" if done else "to do"
    size = disk.weights(parameters * plan.pruned.macs, scoring.bench.testbed.half)
    return Step(what, key, status, max(left, LEAST), None if hours is None else hours * left, size)


def _pictures(scoring: Scoring, model: Model, suite: SuiteInRun, estimator: Estimator | None) -> Step:
    """Return the step that samples the pictures of a suite and computes their features."""
    from benchmark.generation.features import features_identity
    from benchmark.generation.shards import kind_of, picture_bytes, shard_identity, shards

    bench, prompts = scoring.bench, scoring.prompts[suite.name]
    identity, what = features_identity(bench, model, prompts, suite), f"sample {model.label}: {suite.name}"
    key = key_of("features", identity)
    if bench.store.has("features", identity):
        return Step(what, key, "done", 0.0, 0.0, 0.0)
    missing = [
        prompt
        for shard in shards(prompts)
        if not bench.store.has(kind_of(suite), shard_identity(bench, model, shard))
        for prompt in shard
    ]
    there, size = len(prompts) - len(missing), sum(picture_bytes(bench, prompt) for prompt in missing)
    status = f"{there:,} of {len(prompts):,} pictures are there" if there else "to do"
    if not missing:
        status = "pictures are there, features to do"
    hours = len(missing) * estimator.picture(model.facts.macs) if estimator else None
    return Step(what, key, status, max(len(missing) / len(prompts), LEAST), hours, size)
