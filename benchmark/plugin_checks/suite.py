"""Checks a suite, or a metric, on random features: its contract, its prompts, and what it computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor

from benchmark.api.declarations import Use
from benchmark.api.suite import Evidence, Scores, Suite
from benchmark.api.testbed import Testbed
from benchmark.plugin_checks.checks import Check, Fault, Untried, until_broken
from benchmark.store.artefacts import Store
from benchmark.suites.load import AppliedMetric, SuiteInRun, in_run
from benchmark.suites.plugins import metric_class
from benchmark.testbeds import resolve
from prompts.concepts import Concept
from prompts.lists import Prompt

PROMPTS_PER_PART = 6
WIDTH = 32
"""Features of one image."""


class SuiteChecks:
    """The checks of one suite, by name, `path/to/file.py:Class` or TOML file, on a testbed's prompts and networks."""

    def __init__(self, name: str, testbed: str) -> None:
        self.name, self.testbed_name = name, testbed
        self._suite: Any = None
        self._evidence: Any = None

    def lines(self) -> Iterator[Check]:
        return until_broken(
            ("contract", self.contract), ("prompts", self.prompts), ("scores", self.scores), ("repeat", self.repeat)
        )

    def contract(self) -> str:
        self._suite = in_run(self.name)
        return "declares everything that a suite must declare"

    def prompts(self) -> str:
        testbed = resolve.load(self.testbed_name)(device="cpu")
        concept = testbed.concept((), self._suite.forgets)
        prompts = self._suite.prompts(testbed, concept)
        prompts = testbed.prompts(self._suite.name, concept) if prompts is None else prompts
        self._suite.check(testbed, prompts)
        self._evidence = _evidence(testbed, concept, prompts, self._suite.encoders)
        parts = ", ".join(dict.fromkeys(prompt.part for prompt in prompts))
        return f"{len(prompts)} prompts in parts {parts}"

    def scores(self) -> str:
        return f"computes {', '.join(_cells(self._suite, self._evidence))} from random features"

    def repeat(self) -> str:
        if _cells(self._suite, self._evidence) != _cells(self._suite, self._evidence):
            raise Fault("computes different scores from the same features: fix the seed of everything random")
        return "computes the same scores again"


class MetricChecks:
    """The checks of one metric, by name or `path/to/file.py:Class`, on random features of made-up prompts."""

    def __init__(self, name: str, testbed: str) -> None:
        self.name, self.testbed_name = name, testbed
        self._metric: Any = None
        self._evidence: Any = None

    def lines(self) -> Iterator[Check]:
        return until_broken(("contract", self.contract), ("scores", self.scores), ("repeat", self.repeat))

    def contract(self) -> str:
        metric_class(self.name)
        self._metric = AppliedMetric(Use(self.name))
        return "declares everything that a metric must declare"

    def scores(self) -> str:
        testbed = resolve.load(self.testbed_name)(device="cpu")
        if missing := [job for job in self._metric.kind.encoders if job not in testbed.networks]:
            raise Untried(f"reads network '{missing[0]}', which testbed '{testbed.name}' does not have")
        concept = testbed.concept(())
        prompts = [
            Prompt(f"{part}-{k}", f"picture {k}", k, part, target)
            for part, target in (("targets", concept.targets[0]), ("kept", ""))
            for k in range(PROMPTS_PER_PART)
        ]
        self._evidence = _evidence(testbed, concept, prompts, self._metric.kind.encoders)
        return f"computes {', '.join(self._cells())} from random features"

    def repeat(self) -> str:
        if self._cells() != self._cells():
            raise Fault("computes different scores from the same features: fix the seed of everything random")
        return "computes the same scores again"

    def _cells(self) -> dict[str, float | None]:
        scores = Scores(len(self._evidence.prompts))
        self._metric.add(scores, self._evidence)
        return {name: cell.value for name, cell in scores.cells.items()}


def _cells(suite: SuiteInRun | Suite, evidence: Evidence) -> dict[str, float | None]:
    return {name: cell.value for name, cell in suite.score(evidence).cells.items()}


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
    return Evidence(testbed, Store(Path(mkdtemp())), concept, prompts, *sides)
