"""The models of a grid's rows: those of the runs folder, and external checkpoints. Nothing is trained."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.errors import DataError
from benchmark.generation.grid_pictures import has_pictures

if TYPE_CHECKING:
    from benchmark.api.model import Model
    from benchmark.api.request import RunRequest
    from benchmark.api.testbed import Workbench
    from benchmark.pipeline.grid_request import GridRequest
    from prompts.concepts import Concept
    from prompts.lists import Prompt


def trained(request: GridRequest, bench: Workbench, concept: Concept) -> list[Model]:
    """Return the base and the trained models of a request, without loading their weights."""
    from benchmark.models.fitted import Base, Fitted
    from benchmark.models.plan import plan_of

    return [
        Base(bench) if name == "base" else Fitted(bench, plan_of(bench, _run_of(request, name), concept))
        for name in request.methods
    ]


def external(request: GridRequest, bench: Workbench) -> list[Model]:
    """Return the external checkpoints of a request. DataError if one does not fit the testbed."""
    from benchmark.models.external_checkpoint import locate
    from benchmark.models.external_model import ExternalCheckpoint

    return [ExternalCheckpoint(bench, locate(place), label) for label, place in request.checkpoints]


def check_stored(
    models: Sequence[Model], bench: Workbench, prompts: Sequence[Prompt], private: bool, request: GridRequest
) -> None:
    """Raise DataError, with the commands that train them, if models are not in the store and their pictures neither."""
    from benchmark.models.fitted import Fitted

    missing = [
        model
        for model in models
        if isinstance(model, Fitted)
        and not bench.store.has("model", model.identity)
        and not has_pictures(bench, model, prompts, private)
    ]
    if not missing:
        return
    methods = [model.facts.method for model in missing]
    needed = [name for name in methods if name != "distilled"] or methods  # each run also trains its reference
    commands = " and ".join(f"`{train_command(_run_of(request, name), name)}`" for name in needed)
    raise DataError(
        f"{bench.store.home} has no model {' and no model '.join(model.label for model in missing)} with these "
        f"settings: train with {commands} first."
    )


def _run_of(request: GridRequest, method: str) -> RunRequest:
    """Return the request that trains a method. Next to other methods, `distilled` is their reference, whose training
    seed is fixed."""
    from benchmark.records.record import REFERENCE_SEED

    is_reference = method == "distilled" and bool(set(request.methods) - {"base", "distilled"})
    return replace(request.run, method=method, seed=REFERENCE_SEED if is_reference else request.run.seed)


def train_command(run: RunRequest, method: str) -> str:
    """Return the `bench run` command that trains a method with the settings of a request."""
    options = {
        "--suite": run.suite,
        "--testbed": run.testbed,
        "--pruning": run.pruning,
        "--macs": "" if run.pruning == "none" else f"{run.macs:g}",
        "--targets": ",".join(run.targets),
        "--seed": str(run.seed),
        "--budget": run.budget,
        "--precision": run.precision,
        "--runs": str(run.runs),
    }
    usual = {
        "--testbed": "mini", "--pruning": "magnitude", "--macs": "0.8", "--targets": "", "--seed": "0",
        "--budget": "default", "--precision": "", "--runs": "runs",
    }  # fmt: skip
    words = ["bench", "run", "--method", method]
    for option, value in options.items():
        if value and value != usual.get(option):
            words += [option, value]
    return shlex.join(words)
