"""`bench run`, told in one function: prune, train, sample, look, score, record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.markup import escape

from benchmark import registry
from benchmark.api.request import Outcome, RunRequest
from benchmark.console import Progress
from benchmark.hardware import usable
from benchmark.pipeline import run_cache
from benchmark.records.record import refuse_newer
from benchmark.store import paths
from benchmark.testbeds import resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.model import Model
    from benchmark.api.suite import Suite
    from benchmark.api.testbed import Workbench
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
    from benchmark.models.fitted import base, brought, check_name, check_name_is_free, fitted
    from benchmark.models.plan import REFERENCE_SEED, plan_of
    from benchmark.pipeline.setup import workbench_for

    check_name(name)
    home = paths.prepare(request.runs, DISK_NEEDED)
    external = replace(external_checkpoint.locate(checkpoint, parts), architecture=architecture)
    check_name_is_free(paths.records_folder(home), resolve.name_of(request.testbed), name, external.sha256())

    from benchmark.pipeline import disk_needs
    from benchmark.pipeline.evaluation import measure
    from benchmark.suites import prompts

    bench = workbench_for(request, home, progress)
    first: Suite = registry.load("suites", request.suite)()
    suites = [first, *(registry.load("suites", suite)() for suite in first.brings if not request.alone)]
    prompts.check_as_published(bench, [suite.name for suite in suites])
    concept = bench.testbed.concept(request.targets, first.forgets)
    prompts_by_suite = {suite.name: prompts.suite_prompts(bench, suite.name, concept) for suite in suites}
    evaluated = brought(bench, external, name, parts)
    rows, plans = [base(bench), evaluated], []
    if reference == "distilled":
        plans.append(plan_of(bench, replace(request, seed=REFERENCE_SEED), concept))
        rows.insert(1, fitted(bench, plans[0]))
    disk_needs.check(bench, plans, rows, suites, prompts_by_suite)
    for row in rows:
        row.train()
    return measure(bench, rows, rows[-2], suites, prompts_by_suite, concept, request.reveal)


DISK_NEEDED = 300_000_000
"""Bytes that a run on mini may write: pictures, features, checkpoints."""


def run(request: RunRequest, progress: Progress) -> Outcome:
    """Make the records of one method on one suite (and the suites it brings), with those of base and reference.

    Where the request's reference is the base, no other model is trained than the one that is asked for.
    Everything found in the store is reused; everything made is kept there at once, so an interrupted run goes on.
    """
    home = paths.prepare(request.runs, DISK_NEEDED)
    if answered := run_cache.find(request):
        if request.device not in ("auto", "cpu"):
            usable(request.device)  # refuses a missing device, whatever the records hold
        progress.reuse("asked before, and nothing has changed: answered from its records")
        return answered
    refuse_newer(paths.records_folder(home))

    from benchmark.models import minimum_budget
    from benchmark.models.fitted import base, fitted
    from benchmark.models.plan import REFERENCE_SEED, plan_of
    from benchmark.pipeline import disk_needs
    from benchmark.pipeline.evaluation import measure
    from benchmark.pipeline.setup import workbench_for
    from benchmark.suites import prompts

    bench = workbench_for(request, home, progress)
    first: Suite = registry.load("suites", request.suite)()
    suites = [first, *(registry.load("suites", name)() for name in first.brings if not request.alone)]
    prompts.check_as_published(bench, [suite.name for suite in suites])
    concept = bench.testbed.concept(request.targets, first.forgets)
    # Before any work, so that a missing list is reported first.
    prompts_by_suite = {suite.name: prompts.suite_prompts(bench, suite.name, concept) for suite in suites}
    plan = plan_of(bench, request, concept)
    minimum_budget.check(bench, plan)
    rows, plans = [base(bench)], [plan]
    if request.reference == "distilled":
        plain = replace(request, method="distilled", preset="", overrides={}, seed=REFERENCE_SEED)
        plans.insert(0, plan_of(bench, plain, concept))
        rows.append(fitted(bench, plans[0]))
    reference, model = rows[-1], fitted(bench, plan)
    if model.identity != reference.identity:
        if reference is not rows[0]:
            reference = rows[-1] = _announced(bench, reference, suites, request.method)
        rows.append(model)

    disk_needs.check(bench, plans, rows, suites, prompts_by_suite)
    for row in reversed(rows):
        row.train()  # trains missing models: a budget that is too small is refused before any sampling
    outcome = measure(bench, rows, reference, suites, prompts_by_suite, concept, request.reveal)
    run_cache.keep(request, outcome)
    return outcome


NOT_RELATIVE = ("coco",)
"""Suites none of whose figures compares with the reference."""


def _announced(bench: Workbench, reference: Model, suites: Sequence[Suite], method: str) -> Model:
    """The reference; before it is trained, a line says what for and how to do without it."""
    relative = [suite.name for suite in suites if suite.name not in NOT_RELATIVE]
    why = f"figures of {', '.join(relative)} compare with it" if relative else "none of the figures compares with it"

    def announce() -> None:
        if not bench.store.has("model", reference.identity):
            bench.progress.say(
                escape(
                    f"reference {reference.label} is trained as a whole: {why}; --reference base trains {method} alone"
                )
            )

    def load() -> UNet2DConditionModel:
        announce()
        return reference.load()

    def ledger() -> list[dict[str, Any]]:
        if not bench.store.has("cost", reference.identity):
            announce()
        return reference.ledger()

    def train() -> None:
        if not bench.store.has("cost", reference.identity):
            announce()
        reference.train()

    return replace(reference, load=load, ledger=ledger, train=train)
