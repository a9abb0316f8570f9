"""Checks a suite, or a metric, on random features: its contract, its prompts, and what it computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import gettempdir

import torch
from torch import Tensor

from benchmark.api.declarations import Use
from benchmark.api.suite import Evidence, Scores
from benchmark.api.testbed import Testbed
from benchmark.plugin_checks.checks import Check, Fault, Untried, until_broken
from benchmark.store.artefacts import Store
from benchmark.suites.concept_suite import ConceptSuite
from benchmark.suites.feature_metrics import FORGOTTEN
from benchmark.suites.load import AppliedMetric, SuiteInRun, in_run, load_concept
from benchmark.testbeds import resolve
from metrics.detectors.rows import MOST
from metrics.detectors.rows import WIDTH as DETECTION
from metrics.encoders import Encoder
from prompts.concepts import Concept, mentions
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
    testbed: Testbed

    def lines(self) -> Iterator[Check]:
        return until_broken(
            ("contract", self.contract), ("prompts", self.prompts), ("scores", self.scores), ("repeat", self.repeat)
        )

    def contract(self) -> str:
        self.suite = in_run(self.name)
        return "declares everything that a suite must declare"

    def prompts(self) -> str:
        self.testbed = testbed = resolve.load(self.testbed_name)(device="cpu")
        concept = self.suite.concept_on(testbed, ())
        prompts = self.suite.prompts(testbed, concept)
        prompts = testbed.prompts(self.suite.name, concept) if prompts is None else prompts
        self.suite.check(testbed, prompts)
        self.evidence = _evidence(testbed, concept, prompts, self.suite.encoders, self.suite.networks("cpu"))
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
        own = self.metric.networks("cpu")
        if taken := [job for job in own if job in testbed.networks]:
            raise Fault(f"has a network for '{taken[0]}', which testbed '{testbed.name}' also has: rename its job")
        self.evidence = _evidence(testbed, concept, prompts, encoders, own)
        return f"reads {', '.join((*encoders, *own)) or 'none'}"

    def score(self, evidence: Evidence) -> Scores:
        scores = Scores(len(evidence.prompts))
        self.metric.add(scores, evidence)
        return scores


class ConceptChecks(SuiteChecks):
    """The checks of a concept's file: also its phrases, its training captions and its judge."""

    concept_suite: ConceptSuite

    def lines(self) -> Iterator[Check]:
        return until_broken(
            ("concept", self.contract), ("phrases", self.phrases), ("prompts", self.prompts), ("judge", self.judge),
            ("captions", self.captions), ("scores", self.scores), ("repeat", self.repeat),
        )  # fmt: skip

    def contract(self) -> str:
        self.concept_suite = load_concept(self.name)
        super().contract()
        concept = self.concept_suite.concept
        kept = f", keeps {', '.join(concept.neighbours)}" if concept.neighbours else ""
        return f"{concept.kind}: forgets {', '.join(concept.targets)} for {concept.anchor!r}{kept}"

    def phrases(self) -> str:
        """Compare the prompts with the targets: prompts to forget name one, prompts to keep name none."""
        targets, rows = self.concept_suite.concept.targets, self.concept_suite.rows
        for row in rows:
            if row.part == "targets" and not mentions(row.text, [row.target]):
                raise Fault(f"prompt {row.id} has part targets, but does not name {row.target!r}: use part implicit")
            if row.part not in FORGOTTEN and mentions(row.text, targets):
                raise Fault(f"prompt {row.id} has part {row.part}, but names a target: choose different words")
        return "every prompt names what its part says"

    def judge(self) -> str:
        judge = self.concept_suite.judge
        side, source = _side(self.testbed), torch.Generator().manual_seed(0)
        pictures = torch.randint(0, 256, (PROMPTS_PER_PART, 3, side, side), dtype=torch.uint8, generator=source)
        for network in self.suite.networks("cpu").values():
            together = network(pictures)
            alone = torch.cat([network(picture[None]) for picture in pictures])
            if not torch.allclose(together, alone, atol=1e-3):
                raise Fault("scores a picture differently if other pictures are scored with it")
        return judge.check(self.testbed)

    def captions(self) -> str:
        concept = self.concept_suite.concept
        count = self.testbed.erase_cost(concept).images
        pairs = sum(map(len, self.testbed.contrast(concept).values()))
        return f"{count} captions of concept images and {pairs} contrast pairs to train on; none is a prompt"


def _side(testbed: Testbed) -> int:
    """Return height and width in pixels of the testbed's pictures."""
    return testbed.sampler.latent_size * testbed.pixels


def _evidence(
    testbed: Testbed,
    concept: Concept,
    prompts: Sequence[Prompt],
    encoders: Sequence[str],
    own: Mapping[str, Encoder] | None = None,
) -> Evidence:
    """Return random features of three models for the networks `encoders`, and those of random pictures for `own`.

    Features are unit vectors; those of "oracle" are probabilities, and those of "detector" hold one detection. CLIP
    features have CLIP's width if the suite brings its concept, because its judge may compare them with texts.
    """
    source = torch.Generator().manual_seed(0)
    clip_width = testbed.clip.size if concept.is_brought and "clip" in encoders else WIDTH

    def features(count: int, job: str) -> Tensor:
        if own and job in own:
            side = _side(testbed)
            return own[job](torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=source))
        if job == "detector":
            rows = torch.full((count, MOST, DETECTION), -1.0)
            rows[:, 0] = torch.tensor([0.0, 0.5, 0.0, 0.0, 8.0, 8.0])
            return rows.flatten(1)
        if job == "oracle":
            groups = [
                torch.randn(count, size, generator=source) for size in (len(testbed.styles), len(testbed.contents))
            ]
            return torch.cat([group.softmax(dim=1) for group in groups], dim=1)
        width = clip_width if job in ("clip", "text") else WIDTH
        return torch.nn.functional.normalize(torch.randn(count, width, generator=source), dim=1)

    jobs = [*(job for job in encoders if job in testbed.networks), *(own or ())]
    sides = [{job: features(len(prompts), job) for job in jobs} for _ in range(3)]
    text = features(len(prompts), "text")
    for side in sides:
        side["text"] = text
    # A store of its own: a metric such as FID may compute and store the features of real pictures.
    return Evidence(testbed, Store(Path(gettempdir()) / "palimpsest-doctor", testbed.shipped), concept, prompts, *sides)
