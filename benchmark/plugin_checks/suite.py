"""Checks a suite, or a metric, on random features: its contract, its prompts, and what it computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import gettempdir

import torch
from torch import Tensor

from benchmark.api.declarations import Use
from benchmark.api.suite import Evidence, Scores
from benchmark.api.testbed import Testbed
from benchmark.plugin_checks.checks import Check, Fault, Untried, until_broken
from benchmark.store.artefacts import Store
from benchmark.suites.load import AppliedMetric, SuiteInRun, in_run
from benchmark.testbeds import resolve
from prompts.concepts import Concept
from prompts.lists import Prompt

PROMPTS_PER_PART = 6
WIDTH = 32
"""Features of one image."""


class _ScoreChecks:
    """The checks that suites and metrics share: what they compute from random features, twice."""

    def __init__(self, name: str, testbed: str) -> None:
        self.name, self.testbed_name = name, testbed
        self.evidence: Evidence | None = None

    def score(self, evidence: Evidence) -> Scores:
        """Score the random features."""
        raise NotImplementedError

    def scores(self) -> str:
        return f"computes {', '.join(self._cells())} from random features"

    def repeat(self) -> str:
        if self._cells() != self._cells():
            raise Fault("computes different scores from the same features: fix the seed of everything random")
        return "computes the same scores again"

    def _cells(self) -> dict[str, float | None]:
        assert self.evidence is not None  # an earlier check has set it, and a failed check ends the list
        return {name: cell.value for name, cell in self.score(self.evidence).cells.items()}


class SuiteChecks(_ScoreChecks):
    """The checks of one suite, by name, `path/to/file.py:Class` or TOML file, on a testbed's prompts and networks."""

    suite: SuiteInRun

    def lines(self) -> Iterator[Check]:
        return until_broken(
            ("contract", self.contract), ("prompts", self.prompts), ("scores", self.scores), ("repeat", self.repeat)
        )

    def contract(self) -> str:
        self.suite = in_run(self.name)
        return "declares everything that a suite must declare"

    def prompts(self) -> str:
        testbed = resolve.load(self.testbed_name)(device="cpu")
        concept = testbed.concept((), self.suite.forgets)
        prompts = self.suite.prompts(testbed, concept)
        prompts = testbed.prompts(self.suite.name, concept) if prompts is None else prompts
        self.suite.check(testbed, prompts)
        self.evidence = _evidence(testbed, concept, prompts, self.suite.encoders)
        parts = ", ".join(dict.fromkeys(prompt.part for prompt in prompts))
        return f"{len(prompts)} prompts in parts {parts}"

    def score(self, evidence: Evidence) -> Scores:
        return self.suite.score(evidence)


class MetricChecks(_ScoreChecks):
    """The checks of one metric, by name or `path/to/file.py:Class`, on random features of made-up prompts."""

    metric: AppliedMetric

    def lines(self) -> Iterator[Check]:
        return until_broken(
            ("contract", self.contract), ("networks", self.networks), ("scores", self.scores), ("repeat", self.repeat)
        )

    def contract(self) -> str:
        self.metric = AppliedMetric(Use(self.name))
        return "declares everything that a metric must declare"

    def networks(self) -> str:
        testbed, encoders = resolve.load(self.testbed_name)(device="cpu"), self.metric.kind.encoders
        if missing := [job for job in encoders if job not in testbed.networks]:
            available = ", ".join(testbed.networks)
            raise Untried(
                f"reads network '{missing[0]}', which testbed '{testbed.name}' does not have. Available: {available}"
            )
        concept = testbed.concept(())
        prompts = [
            Prompt(f"{part}-{k}", f"picture {k}", k, part, target)
            for part, target in (("targets", concept.targets[0]), ("kept", ""))
            for k in range(PROMPTS_PER_PART)
        ]
        self.evidence = _evidence(testbed, concept, prompts, encoders)
        return f"reads {', '.join(encoders) or 'none'}"

    def score(self, evidence: Evidence) -> Scores:
        scores = Scores(len(evidence.prompts))
        self.metric.add(scores, evidence)
        return scores


def _evidence(testbed: Testbed, concept: Concept, prompts: Sequence[Prompt], encoders: Sequence[str]) -> Evidence:
    """Random unit features of three models for the networks `encoders`; random probabilities for "oracle"."""
    source = torch.Generator().manual_seed(0)

    def features(count: int, job: str) -> Tensor:
        if job == "oracle":
            groups = [
                torch.randn(count, size, generator=source) for size in (len(testbed.styles), len(testbed.contents))
            ]
            return torch.cat([group.softmax(dim=1) for group in groups], dim=1)
        return torch.nn.functional.normalize(torch.randn(count, WIDTH, generator=source), dim=1)

    sides = [{job: features(len(prompts), job) for job in encoders} for _ in range(3)]
    text = features(len(prompts), "text")
    for side in sides:
        side["text"] = text
    # A store of its own: a metric such as FID may compute and store the features of real pictures.
    return Evidence(testbed, Store(Path(gettempdir()) / "palimpsest-doctor", testbed.shipped), concept, prompts, *sides)
