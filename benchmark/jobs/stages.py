"""Finds stages that several runs of a campaign share, so that these are computed once and not waited for on a node.

Runs share two kinds of models:

- the reference of CP and CSD, a distilled model. If two or more runs need the same reference, a job trains it first.
- the distillation that a method such as `esd` starts from, with the method's training seed. If two or more runs start
  from the same distillation, the others begin after the first of them. No separate job trains it, because that job's
  record would be a row that the campaign's file does not contain.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from benchmark import registry
from benchmark.api.request import RunRequest, parse_budget
from benchmark.errors import PalimpsestError
from benchmark.jobs.references import Line, reference_request, without_names, words_of
from benchmark.records.record import REFERENCE_SEED
from methods.base import configure


@dataclass(frozen=True)
class Order:
    """What must come before a run."""

    reference: tuple[str, ...] | None = None
    """Options of the run that trains its reference, which must succeed; None if no other run shares the reference."""
    first: tuple[str, ...] | None = None
    """Options of the run that trains the distillation it starts from, or the same model; it must have ended."""


def orders(
    lines: Sequence[Line], finished: Sequence[Line] = ()
) -> tuple[list[tuple[str, ...]], dict[tuple[str, ...], Order]]:
    """Return what runs wait for.

    Args:
        lines: the runs that are not finished.
        finished: the runs that are finished, which nothing waits for.

    Returns:
        The options of the reference jobs that no line contains, and the order of all lines and reference jobs that
        wait for something. Following the order from job to job never leads back.
    """
    requests = {line.words: reference_request(line) for line in lines}
    shared = [request for request in requests.values() if request is not None]
    added: dict[tuple[str, ...], RunRequest] = {}
    references: dict[tuple[str, ...], tuple[str, ...]] = {}
    for line in lines:
        request = requests[line.words]
        if request is None or shared.count(request) < 2 or without_names(line) == (request,):
            continue
        if any(without_names(candidate) == (request,) for candidate in finished):
            continue
        own: tuple[str, ...] | None = next(
            (candidate.words for candidate in lines if without_names(candidate) == (request,)), None
        )
        references[line.words] = own or words_of(request)
        if own is None:
            added[words_of(request)] = request
    orders: dict[tuple[str, ...], Order] = {}
    leaders: dict[Hashable, tuple[str, ...]] = {}
    jobs = [Line(words, (request,)) for words, request in added.items()]
    # Runs of `distilled` come first, because they train nothing but the distillation.
    for line in sorted([*jobs, *lines], key=lambda line: line.requests[0].method != "distilled"):
        reference: tuple[str, ...] | None = references.get(line.words)
        key = _distillation(line)
        leader = leaders.setdefault(key, line.words) if key is not None else line.words
        first = None if leader in (line.words, reference) else leader
        if reference or first:
            orders[line.words] = Order(reference, first)
    return list(added), orders


def _distillation(line: Line) -> Hashable | None:
    """Return what identifies the distillation that a run trains, apart from its reference; None if it trains none."""
    if len(line.requests) != 1:
        return None
    request = line.requests[0]
    adapter = registry.load("methods", request.method)
    distilled = registry.load("methods", "distilled")
    preset = request.preset if request.preset in distilled.presets else ""
    if request.method == "distilled":
        if request.overrides:
            return None
        share = 1.0
    elif adapter.start == "distilled" and request.pruning != "none":
        try:
            share = 1 - configure(adapter, request.preset or "default", **request.overrides).own_share
        except PalimpsestError:
            return None  # the estimate, or the run itself, reports a wrong setting together with its run
    else:
        return None
    is_reference = request.reference == "distilled" and request.seed == REFERENCE_SEED and not preset
    if is_reference and request.method != "distilled":
        return None  # the training of the reference contains it
    budget = parse_budget(request.budget)
    if budget is not None and budget.unit == "seconds":
        return None
    amount = None if budget is None else (budget.unit, budget.amount * share)
    # Of the concept, a distillation depends at most on the captions that --data leaves out.
    is_general = request.data == "plain" and not request.suite.endswith(".toml") and not registry.is_file(request.suite)
    concept = None if is_general else (request.suite, request.targets)
    model = (request.testbed, request.pruning, request.macs, request.data, request.precision, request.seed, preset)
    return (*model, concept, amount or share)
