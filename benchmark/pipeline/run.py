"""Implements `bench run` and `bench eval`: prunes, trains, samples, scores and writes records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import registry
from benchmark.api.request import Outcome, RunRequest
from benchmark.console import Progress
from benchmark.hardware import usable
from benchmark.pipeline import run_cache
from benchmark.records.record import refuse_newer
from benchmark.store import claims, paths
from benchmark.store.artefacts import key_of
from benchmark.testbeds import resolve
from benchmark.tracking.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmark.api.model import Model
    from benchmark.api.testbed import Workbench
    from benchmark.models.plan import Plan
    from benchmark.pipeline.run_facts import RunFacts
    from benchmark.suites.load import SuiteInRun
    from methods.quantization import Weights
    from prompts.concepts import Concept
    from prompts.lists import Prompt


DISK_NEEDED = 300_000_000
"""Upper bound in bytes of the pictures, features and checkpoints that a run on mini writes."""
NOT_RELATIVE = ("coco",)
"""Suites whose scores are all computed without the reference model."""


@dataclass(frozen=True)
class Scoring:
    """The workbench (testbed, store and device), suites and prompts that the models of a run are scored with."""

    bench: Workbench
    suites: Sequence[SuiteInRun]
    concept: Concept
    prompts: Mapping[str, Sequence[Prompt]]
    """The prompts of each suite, by the suite's name."""
    reveal: bool
    facts: RunFacts
    """What the records state about how they were made."""

    @classmethod
    def of(cls, request: RunRequest, home: Path, progress: Progress) -> Scoring:
        """Create the workbench of a request, and load its suites and their prompts.

        A missing prompt list, and a metric that cannot be computed on this testbed, are reported here, before any
        training or sampling.
        """
        from benchmark.pipeline.run_facts import RunFacts
        from benchmark.pipeline.setup import workbench_for
        from benchmark.suites import load, prompts

        first = load.in_run(request.suite, request.metrics)
        suites = [first, *(load.in_run(name) for name in first.brings if not request.alone)]
        bench = workbench_for(request.runtime, home, progress)
        prompts.check_as_published(bench, [suite.name for suite in suites])
        concept = first.concept_on(bench.testbed, request.targets)
        prompts_by_suite = {suite.name: prompts.prompts_of(bench, suite, concept) for suite in suites}
        for suite in suites:
            suite.check(bench.testbed, prompts_by_suite[suite.name])
        facts = RunFacts.of(request, bench, suites, concept)
        return cls(bench, suites, concept, prompts_by_suite, request.reveal, facts)

    def outcome(self, plans: Sequence[Plan], rows: Sequence[Model], reference: Model) -> Outcome:
        """Train all models, then sample and score them, and return their records.

        All training comes first, so that a budget that is too small is reported before any sampling.

        Args:
            plans: the training plans of those models that this run may train.
            rows: models to score; the first is the base, the last is the model of the request.
            reference: one of the rows, the reference of CP and CSD.
        """
        from benchmark.models.plan import identity
        from benchmark.pipeline import disk_needs
        from benchmark.pipeline.evaluation import measure

        disk_needs.check(self.bench, plans, rows, self.suites, self.prompts)
        keys = [key_of("model", row.identity) for row in rows]
        keys += [key_of("model", identity(self.bench, plan.first)) for plan in plans if plan.first]
        with claims.using(self.bench.store, keys, f"run {rows[-1].label}", self.bench.progress):
            for row in reversed(rows):
                row.train()
            return measure(
                self.bench, rows, reference, self.suites, self.prompts, self.concept, self.facts, self.reveal
            )


def evaluate(
    request: RunRequest,
    checkpoint: str,
    name: str,
    progress: Progress,
    architecture: Path | None = None,
    parts: str = "all",
    weights: Weights = "full",
    lora_scale: float = 1.0,
    embeddings: Sequence[Path] = (),
) -> Outcome:
    """Score a checkpoint, and return its records with those of the base and the reference.

    The checkpoint is read, and compared with the testbed's architecture, before anything is trained or sampled.

    Args:
        request: the request, whose method is `distilled`; its budget and pruning apply only to the reference.
        checkpoint: folder or file of weights, or a Hub id.
        name: the name of the checkpoint in tables.
        progress: progress display.
        architecture: file with the architecture to which weights of full size are pruned; None for no pruning.
        parts: the parts of a pipeline that are used, such as "unet,text_encoder"; "all" uses every part that differs
            from the testbed's. The label and the record state what differs and what is used.
        weights: "int8" or "int4" rounds the U-Net's weights first; the result is stored as a separate model.
        lora_scale: factor of the change of a LoRA, in addition to its own alpha / rank; other checkpoints need 1.
        embeddings: files with embeddings of new words (textual inversion) for the text encoder.
    """
    from benchmark.models import external_checkpoint
    from benchmark.models.checkpoint_names import check_name, check_name_is_free
    from benchmark.models.chosen_parts import parse_parts
    from benchmark.models.embeddings import read_embeddings
    from benchmark.models.external_model import ExternalCheckpoint

    check_name(name)
    external_checkpoint.check_lora_scale(lora_scale)
    chosen, words = parse_parts(parts), read_embeddings(embeddings)
    home = paths.prepare(request.runs, DISK_NEEDED)
    located = external_checkpoint.locate(checkpoint, "unet" if chosen == ("unet",) else "all")
    external = replace(external_checkpoint.scaled(located, lora_scale), architecture=architecture)
    testbed, records_folder = resolve.name_of(request.testbed), paths.records_folder(home)
    check_name_is_free(records_folder, testbed, name, external.sha256())

    scoring = Scoring.of(request, home, progress)
    evaluated = ExternalCheckpoint(scoring.bench, external, name, chosen, weights, words)
    check_name_is_free(records_folder, testbed, name, external.sha256(), parts=evaluated.own_checksums)
    texts = [prompt.text.lower() for prompts in scoring.prompts.values() for prompt in prompts]
    for embedding in words:
        if not any(embedding.word.lower() in text for text in texts):
            progress.warn(
                f"no prompt of this run contains '{embedding.word}', so the embedding {embedding.file} changes no "
                "picture: use a suite whose prompts contain it"
            )
    return beside_reference(scoring, request, evaluated)


def beside_reference(scoring: Scoring, request: RunRequest, evaluated: Model) -> Outcome:
    """Score a model that this package does not train, with the base and the reference that the request names."""
    from benchmark.models.fitted import Base, Fitted
    from benchmark.models.plan import plan_of
    from benchmark.records.record import REFERENCE_SEED

    rows: list[Model] = [Base(scoring.bench), evaluated]
    plans: list[Plan] = []
    if request.reference == "distilled":
        plans.append(plan_of(scoring.bench, replace(request, seed=REFERENCE_SEED), scoring.concept))
        rows.insert(1, Fitted(scoring.bench, plans[0]))
    return scoring.outcome(plans, rows, rows[-2])


@dataclass(frozen=True)
class Rows:
    """The models of a `bench run`, and the training plans of those that it may train."""

    plans: Sequence[Plan]
    models: Sequence[Model]
    """The base first, the model of the request last."""
    reference: Model


def rows_of(scoring: Scoring, request: RunRequest, plan: Callable[[RunRequest], Plan]) -> Rows:
    """Return the models that a run scores, after every check that needs no training and no sampling.

    Args:
        scoring: workbench, suites and prompts of the run.
        request: the run.
        plan: returns the training plan of a request.

    Raises:
        UsageError: a method, preset, setting or pruning cannot be used.
        BudgetError: the budget is too small for one step of each stage.
    """
    from benchmark.models import minimum_budget
    from benchmark.models.fitted import Base, Fitted
    from benchmark.records.record import REFERENCE_SEED

    bench = scoring.bench
    requested = plan(request)
    minimum_budget.check(bench, requested)
    rows: list[Model] = [Base(bench), Fitted(bench, requested)]
    plans, reference = [requested], rows[0]
    if request.reference == "distilled":
        plain = replace(request, method="distilled", preset="", overrides={}, seed=REFERENCE_SEED)
        plans.insert(0, plan(plain))
        distilled = Fitted(bench, plans[0])
        if distilled.identity == rows[1].identity:
            reference = rows[1]
        else:
            distilled.notice = _reference_notice(distilled.label, scoring.suites, registry.short_name(request.method))
            reference = distilled
            rows.insert(1, distilled)
    return Rows(plans, rows, reference)


def run(request: RunRequest, progress: Progress, tracker: Tracker | None = None) -> Outcome:
    """Train and score one method on a suite, and on the suites that this suite adds, such as `coco`.

    Returns the records of the method, the base and the reference.

    If the reference is the base, only the requested model is trained. Results in the store are reused, and every new
    result is stored at once, so that an interrupted run can resume.

    Args:
        request: the run.
        progress: progress display.
        tracker: receives losses, scores and sample pictures; None for no tracking. It does not change any result.
    """
    home = paths.prepare(request.runs, DISK_NEEDED)
    tracker = tracker or Tracker()
    if not tracker.active and (outcome := run_cache.find(request)):
        if request.device not in ("auto", "cpu"):
            usable(request.device)  # a missing device is an error even if the records exist
        progress.reuse("this run was done before and nothing has changed: showing its records")
        return outcome
    refuse_newer(paths.records_folder(home))

    from benchmark.models.plan import plan_of
    from benchmark.pipeline.tracked import send_results, tracked

    scoring = Scoring.of(request, home, progress)
    scoring = replace(scoring, bench=replace(scoring.bench, tracker=tracker))
    rows = rows_of(scoring, request, lambda run_request: plan_of(scoring.bench, run_request, scoring.concept))
    requested = rows.models[-1]
    with tracked(tracker, request, requested, home):
        outcome = scoring.outcome(rows.plans, rows.models, rows.reference)
        send_results(tracker, outcome, {suite.name: suite for suite in scoring.suites}, requested, home)
    run_cache.keep(request, outcome)
    return outcome


def _reference_notice(reference: str, suites: Sequence[SuiteInRun], model: str) -> str:
    """Return the line shown before a reference is trained: what it is needed for, and how to do without it."""
    relative = [suite.name for suite in suites if suite.name not in NOT_RELATIVE]
    why = f"scores of {', '.join(relative)} are relative to it" if relative else "no score is relative to it"
    return (
        f"reference {reference} is trained with the full budget: {why}; with --reference base, only {model} is trained"
    )
