"""Finds the reference of CP and CSD that a run of a campaign needs, and the options of the run that trains it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmark.api.request import RunRequest, parse_budget
from benchmark.records.record import REFERENCE_SEED


@dataclass(frozen=True)
class Line:
    """A run of a campaign: the options of `bench run` as words, and what they request."""

    words: tuple[str, ...]
    requests: tuple[RunRequest, ...]


def reference_request(line: Line) -> RunRequest | None:
    """Return the request that trains and scores the reference of a run; None if it has none, or several.

    A budget in hours has none, because its FLOPs are measured on the machine of the run.
    """
    if any(request.reference != "distilled" or request.along for request in line.requests):
        return None
    if any((budget := parse_budget(request.budget)) and budget.unit == "seconds" for request in line.requests):
        return None
    references = [
        replace(request, method="distilled", preset="", overrides={}, seed=REFERENCE_SEED, kept_names="all")
        for request in line.requests
    ]
    return references[0] if all(request == references[0] for request in references) else None


def words_of(request: RunRequest) -> tuple[str, ...]:
    """Return the options of `bench run` for a request of the method `distilled`, without --runs and --device."""
    usual = RunRequest(request.method, request.suite)
    words = ["--method", request.method, "--suite", request.suite]
    words += ["--testbed", request.testbed] if request.testbed != usual.testbed else []
    words += ["--pruning", request.pruning] if request.pruning != usual.pruning else []
    words += ["--macs", repr(request.macs)] if request.macs != usual.macs and request.pruning != "none" else []
    words += ["--targets", ",".join(request.targets)] if request.targets else []
    words += ["--seed", str(request.seed)] if request.seed else []
    words += ["--budget", request.budget] if request.budget != usual.budget else []
    words += ["--data", request.data] if request.data != usual.data else []
    words += ["--precision", request.precision] if request.precision else []
    words += ["--limit", str(request.limit)] if request.limit is not None else []
    for name in request.metrics:
        words += ["--metric", name]
    flags = {"alone": request.alone, "reveal": request.reveal, "as-published": request.as_published}
    flags["compile"] = request.compiles
    return (*words, *(f"--{flag}" for flag, is_set in flags.items() if is_set))


def without_names(line: Line) -> tuple[RunRequest, ...]:
    """Return the requests of a run, without the choice of kept names if it trains `distilled`, which reads none."""
    return tuple(
        replace(request, kept_names="all") if request.method == "distilled" else request for request in line.requests
    )
