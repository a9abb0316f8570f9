"""`bench run`, told in one function: prune, train, sample, look, score, record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmark import registry
from benchmark.api.request import Outcome, RunRequest
from benchmark.console import Progress
from benchmark.pipeline import run_cache
from benchmark.records.record import refuse_newer
from benchmark.store import paths

if TYPE_CHECKING:
    from benchmark.api.suite import Suite
    from benchmark.models.external_checkpoint import Parts


Reference = Literal["distilled", "base"]


def evaluate(
    request: RunRequest,
    checkpoint: str,
    name: str,
    reference: Reference,
    progress: Progress,
    architecture: Path | None = None,
    parts: Parts = "all",
) -> Outcome:
    """The records of the checkpoint called `name`, with those of the base and the reference.

    `architecture`, if given, cuts weights of full size. With `parts` "unet", parts of the checkpoint's pipeline that
    differ from the testbed's are left out, and label and record say so; else such a pipeline is refused. Of the
    request, whose method is `distilled`, budget and pruning are the reference's alone. The checkpoint is read and
    matched before anything is trained or sampled.
    """
    from benchmark.models import external_checkpoint
    from benchmark.models.fitted import base, brought, check_name, fitted
    from benchmark.models.plan import REFERENCE_SEED, plan_of
    from benchmark.pipeline.setup import workbench_for

    check_name(name)
    home = paths.prepare(request.runs, DISK_NEEDED)
    found = replace(external_checkpoint.locate(checkpoint, parts), architecture=architecture)

    from benchmark.pipeline.evaluation import measure
    from benchmark.suites import prompts

    bench = workbench_for(request, home, progress)
    first: Suite = registry.load("suites", request.suite)()
    suites = [first, *(registry.load("suites", each)() for each in first.brings if not request.alone)]
    prompts.check_as_published(bench, [suite.name for suite in suites])
    concept = bench.testbed.concept(request.targets, getattr(first, "forgets", "style"))
    asked = {suite.name: prompts.asked(bench, suite.name, concept) for suite in suites}
    mine = brought(bench, found, name, parts)
    rows = [base(bench), mine]
    if reference == "distilled":
        rows.insert(1, fitted(bench, plan_of(bench, replace(request, seed=REFERENCE_SEED), concept)))
    for row in rows:
        row.ledger()
    return measure(bench, rows, rows[-2], suites, asked, concept, request.reveal)


DISK_NEEDED = 300_000_000
"""Bytes that a run on mini may write: pictures, features, checkpoints."""


def run(request: RunRequest, progress: Progress) -> Outcome:
    """Make the records of one method on one suite (and the suites it brings), with those of base and reference.

    Everything found in the store is reused; everything made is kept there at once, so an interrupted run goes on.
    """
    home = paths.prepare(request.runs, DISK_NEEDED)
    if answered := run_cache.find(request):
        progress.reuse("asked before, and nothing has changed: answered from its records")
        return answered
    refuse_newer(paths.records_folder(home))

    from benchmark.models import minimum_budget
    from benchmark.models.fitted import base, fitted
    from benchmark.models.plan import REFERENCE_SEED, plan_of
    from benchmark.pipeline.evaluation import measure
    from benchmark.pipeline.setup import workbench_for
    from benchmark.suites import prompts

    bench = workbench_for(request, home, progress)
    first: Suite = registry.load("suites", request.suite)()
    suites = [first, *(registry.load("suites", name)() for name in first.brings if not request.alone)]
    prompts.check_as_published(bench, [suite.name for suite in suites])
    concept = bench.testbed.concept(request.targets, getattr(first, "forgets", "style"))
    asked = {suite.name: prompts.asked(bench, suite.name, concept) for suite in suites}  # a missing list is told first
    plan = plan_of(bench, request, concept)
    minimum_budget.check(bench, plan)
    plain = replace(request, method="distilled", preset="", overrides={}, seed=REFERENCE_SEED)
    reference = fitted(bench, plan_of(bench, plain, concept))
    rows = [base(bench), reference]
    model = fitted(bench, plan)
    if model.identity != reference.identity:
        rows.append(model)

    for row in reversed(rows):
        row.ledger()  # trains what is not there yet: a budget that cannot be met is refused before a picture is made
    outcome = measure(bench, rows, reference, suites, asked, concept, request.reveal)
    run_cache.keep(request, outcome)
    return outcome
