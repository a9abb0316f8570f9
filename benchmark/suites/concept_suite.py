"""A concept of the user's own in a TOML file: what a model should forget, prompts, and who judges the pictures.

It is a suite that brings its concept. Its scores are the share of pictures that show the concept in each part of the
prompts, CLIP score, CP and, as far as the testbed has the networks, CSD (for styles), drift and content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from benchmark.api.declarations import Column
from benchmark.api.suite import Evidence, Scores
from benchmark.errors import DataError, UsageError
from benchmark.json_types import JsonObject
from benchmark.stats import proportion_interval
from benchmark.suites.feature_metrics import FORGOTTEN
from benchmark.suites.judges import ClipJudge, ClipSettings, DetectorJudge, DetectorSettings, Judge
from benchmark.suites.picture_judges import ClassifierJudge, ClassifierSettings, FunctionJudge, FunctionSettings
from benchmark.suites.scoring import make_metric, score_contents, score_pairs
from benchmark.suites.toml_suite import ListSuite, checked, read_settings, read_toml
from prompts.concepts import Concept, Kind, words
from prompts.lists import Prompt

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.api.testbed import Testbed
    from metrics.encoders import Encoder

MARKS = ("kind", "targets", "anchor", "judge")
"""Settings that a concept's file has and the file of another suite has not."""
JUDGES = ("clip", "classifier", "detector", "function")
DETAILS = "Details of the judge"


class ConceptFile(BaseModel):
    """All settings of a concept's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    kind: Kind
    targets: tuple[str, ...] = Field(min_length=1)
    anchor: str = Field(min_length=1)
    neighbours: tuple[str, ...] = ()
    prompts: str = Field(min_length=1, description="CSV file, relative to this one: id,text,seed,part,target,content")
    judge: JsonObject
    summary: str = ""
    brings: tuple[str, ...] = ("coco",)


def is_concept(path: Path) -> bool:
    """Return whether a TOML file defines a concept, not only a suite. DataError if it cannot be read."""
    return any(mark in read_toml(path, "suite") for mark in MARKS)


class ConceptSuite(ListSuite):
    """The suite that a concept's file defines. DataError if the file or its list of prompts is invalid."""

    concept: Concept

    def __init__(self, path: Path) -> None:
        settings, self.where = read_settings(path, ConceptFile, "concept"), f"The concept {path}"
        super().__init__(path.parent / Path(settings.prompts).expanduser())
        try:
            concept = Concept(settings.kind, settings.targets, settings.anchor, settings.neighbours)
        except UsageError as error:
            raise DataError(f"{self.where}: {error}") from error
        if not settings.anchor.strip():
            raise DataError(f"{self.where}: 'anchor' is empty: write a phrase that replaces the targets.")
        self.rows = _sorted_rows(self.rows, concept, self.list_path)
        self.concept = replace(concept, held_out=frozenset(row.text for row in self.rows))
        self.name, self.brings = settings.name, settings.brings
        self.summary = settings.summary or f"a concept of your own: {', '.join(settings.targets)}"
        self.forgets, self.explicit = settings.kind, settings.kind == "explicit"
        self.judge = _judge(settings.judge, self.where, path.parent)
        self.repeatable = self.judge.repeatable
        self.encoders = tuple(dict.fromkeys(("clip", "style", "features", "oracle", *self.judge.encoders)))
        self.parts = tuple(dict.fromkeys(row.part for row in self.rows))
        self.columns = _columns(self.parts, concept)

    def checksums(self) -> Mapping[str, str]:
        return self.judge.checksums()

    def networks(self, device: str) -> Mapping[str, Encoder]:
        return self.judge.networks(device)

    def check(self, testbed: Testbed, prompts: Sequence[Prompt]) -> None:
        self.judge.check(testbed)

    def score(self, evidence: Evidence) -> Scores:
        scores = Scores(len(evidence.prompts))
        judged, judge = self.judge.scores(evidence), self.judge.name(evidence.testbed)
        for part in self.parts:
            self._score_part(scores, part, evidence.rows(part), judged, judge)
        if len(self.concept.targets) > 1:
            by_target = [
                [row for row in evidence.rows("targets") if evidence.prompts[row].target == target]
                for target in self.concept.targets
            ]
            worst = max((rows for rows in by_target if rows), key=lambda rows: float(self._shown(judged, rows).mean()))
            self._put_share(scores, "shown_worst_target", worst, judged, judge, False)
        _score_features(scores, evidence)
        return scores

    def _score_part(self, scores: Scores, part: str, rows: list[int], judged: Tensor, judge: str) -> None:
        """Add the share of a part's pictures that show the concept, and the mean score of the judge."""
        if not rows:
            return
        better = False if part in FORGOTTEN else None
        self._put_share(scores, f"shown_{part}", rows, judged, judge, better)
        values = judged[rows].tolist()
        scores.keep(f"score_{part}", rows, values)
        scores.put(f"score_{part}", sum(values) / len(rows), len(rows), len(rows), "score", better, judge, values)

    def _put_share(
        self, scores: Scores, cell: str, rows: list[int], judged: Tensor, judge: str, better: bool | None
    ) -> None:
        flags, n = self._shown(judged, rows), len(rows)
        count = int(flags.sum())
        low, high = proportion_interval(count, n)
        scores.keep(cell, rows, (100 * flags).tolist())
        scores.put(cell, 100 * count / n, n, n, "% of images", better, judge, interval=(100 * low, 100 * high))

    def _shown(self, judged: Tensor, rows: list[int]) -> Tensor:
        return (judged[rows] > self.judge.threshold).double()


def _score_features(scores: Scores, evidence: Evidence) -> None:
    """Add CLIP score, CP, CSD, drift and content, as far as the testbed has the networks."""
    own, reference, names = evidence.own, evidence.reference, evidence.testbed.networks
    targets = evidence.rows("targets")
    kept = [row for row, prompt in enumerate(evidence.prompts) if prompt.part not in FORGOTTEN]
    if "clip" in names:
        text = own["text"]
        score_pairs(scores, "clip", names["clip"], targets, own["clip"][targets], text[targets])
        cp = make_metric("cp", names["clip"])
        cp.update(own["clip"][targets], reference["clip"][targets], text[targets])
        scores.add("cp", cp, "targets", len(targets), len(targets), targets)
        clip = make_metric("clip", names["clip"])
        clip.update(own["clip"][kept], text[kept])
        scores.add("clip_kept", clip, "kept", len(kept), len(kept), kept)
    if "style" in names and evidence.concept.kind == "style":
        score_pairs(scores, "csd", names["style"], targets, own["style"][targets], reference["style"][targets])
    if "features" in names:
        drift = make_metric("drift", names["features"])
        drift.update(own["features"][kept], evidence.base["features"][kept])
        scores.add("drift", drift, "kept", len(kept), len(kept), kept)
    if "oracle" in names:
        parts = tuple(dict.fromkeys(evidence.prompts[row].part for row in kept))
        score_contents(scores, evidence, {"content_kept": parts})


def _columns(parts: Sequence[str], concept: Concept) -> list[Column]:
    """Return the columns: shares of all parts, the built-in metrics, and the judge's mean scores in a section."""
    several = [Column("shown_worst_target", "worst target shown %", format=".1f")] if len(concept.targets) > 1 else []
    style = [Column("csd", "CSD", relative=True)] if concept.kind == "style" else []
    return [
        *(Column(f"shown_{part}", f"{part} shown %", format=".1f") for part in parts),
        *several,
        Column("clip", "CLIP"),
        Column("cp", "CP", relative=True),
        *style,
        Column("clip_kept", "CLIP, kept"),
        Column("drift", "drift, kept", format=".3f"),
        Column("content_kept", "content, kept", format=".3f", section="Preservation"),
        *(Column(f"score_{part}", f"judge, {part}", format=".3f", section=DETAILS) for part in parts),
    ]


def _sorted_rows(rows: Sequence[Prompt], concept: Concept, path: Path) -> list[Prompt]:
    """Return the prompts with the targets as the concept spells them. DataError if a part or a target is missing."""
    spelled = {" ".join(words(phrase)): phrase for phrase in concept.targets}
    named_rows = []
    for row in rows:
        target = spelled.get(" ".join(words(row.target)), "") if row.target else ""
        if row.part in FORGOTTEN:
            if not row.target and len(concept.targets) == 1:
                target = concept.targets[0]
            if not target:
                problem = f"the target {row.target!r} is none" if row.target else "no target, which must be one"
                raise DataError(
                    f"{path}, {row.id} has part '{row.part}' and {problem} of the concept's targets: "
                    f"{', '.join(concept.targets)}."
                )
            row = replace(row, target=target)
        elif target:
            raise DataError(
                f"{path}, {row.id} names the target {target!r}, but its part '{row.part}' is for prompts to keep: "
                "write part targets, or remove the target."
            )
        named_rows.append(row)
    for target in concept.targets:
        if not any(row.part == "targets" and row.target == target for row in named_rows):
            raise DataError(
                f"{path} has no prompt of part targets for {target!r}: add prompts that name it, to measure whether "
                "it was forgotten."
            )
    if all(row.part in FORGOTTEN for row in named_rows):
        raise DataError(
            f"{path} has only prompts of parts {', '.join(FORGOTTEN)}: add prompts of a part such as kept or "
            "neighbours, to measure what erasure damages."
        )
    return named_rows


def _judge(settings: JsonObject, where: str, folder: Path) -> Judge:
    """Return the judge that the table [judge] describes. DataError if a setting is wrong."""
    by, where_judge = settings.get("by"), f"{where}: the judge"
    if by == "clip":
        return ClipJudge(checked(ClipSettings, settings, where_judge, "judge"), where)
    if by == "detector":
        return DetectorJudge(checked(DetectorSettings, settings, where_judge, "judge"), where)
    if by == "classifier":
        return ClassifierJudge(checked(ClassifierSettings, settings, where_judge, "judge"), where, folder)
    if by == "function":
        return FunctionJudge(checked(FunctionSettings, settings, where_judge, "judge"), where, folder)
    fault = f"judge.by is {by!r}" if by else "setting 'judge.by' is missing"
    raise DataError(f"{where}: {fault}; write who judges the pictures: {', '.join(JUDGES)}.")
