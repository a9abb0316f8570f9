"""The options of `bench eval`, which `evaluate` in Python has as well, and the evaluation that they describe."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmark.cli.eval_sources import check_sources, scorer
from benchmark.cli.options import Reference, artists_named, check_plugin, refuse_given, suite_asked
from benchmark.errors import UsageError
from benchmark.store.paths import home

if TYPE_CHECKING:
    from benchmark.api.request import Outcome, RunRequest
    from benchmark.tables.requirements import Requirement, Verdict
    from methods.quantization import Weights


class Evaluation(NamedTuple):
    """The result of an evaluation."""

    outcome: Outcome
    suite: str
    """Name of the suite."""
    verdicts: list[Verdict]
    """Whether the model meets each requirement."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """The options of `bench eval`; each field has the name of its option and its default."""

    suite: str = ""
    concept: str = ""
    checkpoint: str = ""
    generate: str = ""
    images: Path | None = None
    name: str = ""
    architecture: Path | None = None
    parts: str = "all"
    embedding: Sequence[Path] = ()
    weights: Weights = "full"
    lora_scale: float = 1.0
    testbed: str = "mini"
    reference: Reference = Reference.distilled
    targets: str = ""
    budget: str = "default"
    alone: bool = False
    metric: Sequence[str] = ()
    runs: Path | None = None
    device: str = "auto"
    reveal: bool = False
    as_published: bool = False
    precision: str = ""
    compiles: bool = False
    limit: int | None = None
    require: Sequence[str] = ()
    junit: Path | None = None

    def changed(self) -> frozenset[str]:
        """Return the names of the options that do not have their defaults."""
        return frozenset(field.name for field in fields(self) if getattr(self, field.name) != field.default)

    def evaluate(self, given: Collection[str], command: tuple[str, ...]) -> Evaluation:
        """Score the model that the options name, next to the base and the reference.

        All options are checked before anything is computed. A `junit` file is written by the first process.

        Args:
            given: names of the options that the user gave; those without an effect are refused.
            command: the command line of this evaluation, which records state.

        Raises:
            PalimpsestError: an option is wrong or has no effect, or the evaluation cannot be finished.
        """
        from benchmark import launcher
        from benchmark.console import Progress
        from benchmark.models.checkpoint_names import check_name
        from benchmark.models.chosen_parts import parse_parts
        from benchmark.pipeline.run import evaluate
        from benchmark.records.record import BROUGHT
        from benchmark.store import durable
        from benchmark.tables.requirements import judge, junit

        default_name = check_sources(given, self.checkpoint, self.generate, self.images)
        check_plugin("testbeds", self.testbed)
        suite = suite_asked(self.suite, self.concept, self.targets)
        suite_name = check_plugin("suites", suite)
        for metric in self.metric:
            check_plugin("metrics", metric)
        if self.reference == Reference.base:
            refuse_given(given, {"budget": "--budget"}, "it trains the distilled reference, and --reference is base")
        requirements = self._requirements(suite)
        parse_parts(self.parts)
        label = self.name or default_name
        check_name(label)
        request = self._request(suite, command)
        with Progress() as progress:
            if self.checkpoint:
                outcome = evaluate(
                    request, self.checkpoint, label, progress, self.architecture, self.parts, self.weights,
                    self.lora_scale, self.embedding,
                )  # fmt: skip
            else:
                outcome = scorer(self.generate, self.images, label)(request, progress)
        verdicts = judge(requirements, [record for record in outcome.records if record.pruning == BROUGHT])
        if self.junit is not None and launcher.is_first():
            durable.write_bytes(self.junit, junit(verdicts, label).encode())
        return Evaluation(outcome, suite_name, verdicts)

    def _requirements(self, suite: str) -> list[Requirement]:
        from benchmark.store.outputs import check_file
        from benchmark.suites.load import in_run
        from benchmark.tables.columns import declared_by
        from benchmark.tables.requirements import parse

        if self.junit is not None and not self.require:
            raise UsageError("--junit writes the results of --require: give at least one.")
        if self.junit is not None:
            check_file(self.junit, "--junit")
        if not self.require:
            return []
        run_suite = in_run(suite, self.metric)
        suites = [run_suite.name, *(run_suite.brings if not self.alone else ())]
        return parse(self.require, suites, declared_by(run_suite.name, run_suite.shown))

    def _request(self, suite: str, command: tuple[str, ...]) -> RunRequest:
        from benchmark.api.request import RunRequest, parse_budgets

        if len(parse_budgets(self.budget)) > 1:
            raise UsageError(
                f"--budget '{self.budget}' lists several budgets, and the reference has one: give only one."
            )
        return RunRequest(
            method="distilled",
            suite=suite,
            testbed=self.testbed,
            targets=artists_named(self.testbed, self.targets),
            budget=self.budget,
            runs=self.runs or home(),
            device=self.device,
            alone=self.alone,
            reveal=self.reveal,
            as_published=self.as_published,
            precision=self.precision,
            compiles=self.compiles,
            limit=self.limit,
            reference=self.reference.value,
            metrics=tuple(self.metric),
            command=command,
        )
