"""`bench run` and `bench eval`: prune, train, sample, score, record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.api.request import Outcome, RunRequest
from benchmark.console import Progress
from benchmark.hardware import usable
from benchmark.pipeline import run_cache
from benchmark.records.record import refuse_newer
from benchmark.store import paths
from benchmark.testbeds import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmark.api.model import Model
    from benchmark.api.testbed import Workbench
    from benchmark.models.external_checkpoint import Parts
    from benchmark.models.plan import Plan
    from benchmark.suites.load import SuiteInRun
    from methods.quantization import Weights
    from prompts.concepts import Concept
    from prompts.lists import Prompt


DISK_NEEDED = 300_000_000
"""Bytes that a run on mini may write: pictures, features, checkpoints."""
NOT_RELATIVE = ("coco",)
"""Suites none of whose figures compares with the reference."""


@dataclass(frozen=True)
class Scoring:
    """What models of a run are scored on."""

    bench: Workbench
    suites: Sequence[SuiteInRun]
    concept: Concept
    prompts: Mapping[str, Sequence[Prompt]]
    """Those of each suite, by its name."""
    reveal: bool

    @classmethod
    def of(cls, request: RunRequest, home: Path, progress: Progress) -> Scoring:
        """The request's suites with their prompts on a workbench. A missing list, and a metric that cannot
        be computed on this testbed, are reported before any work."""
        from benchmark.pipeline.setup import workbench_for
        from benchmark.suites import load, prompts

        first = load.in_run(request.suite, request.metrics)
        suites = [first, *(load.in_run(name) for name in first.brings if not request.alone)]
        bench = workbench_for(request.runtime, home, progress)
        prompts.check_as_published(bench, [suite.name for suite in suites])
        concept = bench.testbed.concept(request.targets, first.forgets)
        prompts_by_suite = {suite.name: prompts.prompts_of(bench, suite, concept) for suite in suites}
        for suite in suites:
            suite.check(bench.testbed, prompts_by_suite[suite.name])
        return cls(bench, suites, concept, prompts_by_suite, request.reveal)

    def outcome(self, plans: Sequence[Plan], rows: Sequence[Model], reference: Model) -> Outcome:
        """The records of all rows, which are trained first: a budget that is too small is refused before any sampling.

        `plans` are those of trained rows.
        """
        from benchmark.pipeline import disk_needs
        from benchmark.pipeline.evaluation import measure

        disk_needs.check(self.bench, plans, rows, self.suites, self.prompts)
        for row in reversed(rows):
            row.train()
        return measure(self.bench, rows, reference, self.suites, self.prompts, self.concept, self.reveal)


def evaluate(
    request: RunRequest,
    checkpoint: str,
    name: str,
    progress: Progress,
    architecture: Path | None = None,
    parts: Parts = "all",
    weights: Weights = "full",
) -> Outcome:
    """The records of the checkpoint called `name`, with those of the base and the reference.

    `architecture`, if given, cuts weights of full size. With `parts` "unet", parts of the checkpoint's pipeline that
    differ from the testbed's are left out, and label and record say so; else such a pipeline is refused. `weights`
    "int8" or "int4" rounds the U-Net's weights first, which makes it a model of its own. Of the
    request, whose method is `distilled`, budget and pruning are the reference's alone. The checkpoint is read and
    matched before anything is trained or sampled.
    """
    from benchmark.models import external_checkpoint
    from benchmark.models.fitted import Base, Brought, Fitted, check_name, check_name_is_free
    from benchmark.models.plan import plan_of
    from benchmark.records.record import REFERENCE_SEED

    check_name(name)
    home = paths.prepare(request.runs, DISK_NEEDED)
    external = replace(external_checkpoint.locate(checkpoint, parts), architecture=architecture)
    check_name_is_free(paths.records_folder(home), resolve.name_of(request.testbed), name, external.sha256())

    scoring = Scoring.of(request, home, progress)
    evaluated = Brought(scoring.bench, external, name, parts, weights)
    rows: list[Model] = [Base(scoring.bench), evaluated]
    plans: list[Plan] = []
    if request.reference == "distilled":
        plans.append(plan_of(scoring.bench, replace(request, seed=REFERENCE_SEED), scoring.concept))
        rows.insert(1, Fitted(scoring.bench, plans[0]))
    return scoring.outcome(plans, rows, rows[-2])


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
    from benchmark.models.fitted import Base, Fitted
    from benchmark.models.plan import plan_of
    from benchmark.records.record import REFERENCE_SEED

    scoring = Scoring.of(request, home, progress)
    bench, concept = scoring.bench, scoring.concept
    plan = plan_of(bench, request, concept)
    minimum_budget.check(bench, plan)
    rows: list[Model] = [Base(bench), Fitted(bench, plan)]
    plans, reference = [plan], rows[0]
    if request.reference == "distilled":
        plain = replace(request, method="distilled", preset="", overrides={}, seed=REFERENCE_SEED)
        plans.insert(0, plan_of(bench, plain, concept))
        distilled = Fitted(bench, plans[0])
        if distilled.identity == rows[1].identity:
            reference = rows[1]
        else:
            distilled.notice = _notice(distilled.label, scoring.suites, request.method)
            reference = distilled
            rows.insert(1, distilled)
    outcome = scoring.outcome(plans, rows, reference)
    run_cache.keep(request, outcome)
    return outcome


def _notice(reference: str, suites: Sequence[SuiteInRun], method: str) -> str:
    """The line before a reference is trained: what it is needed for, and how to do without it."""
    relative = [suite.name for suite in suites if suite.name not in NOT_RELATIVE]
    why = f"figures of {', '.join(relative)} compare with it" if relative else "none of the figures compares with it"
    return f"reference {reference} is trained as a whole: {why}; --reference base trains {method} alone"
