"""Judges of a concept file: they say of each picture, as a score in 0..1, how likely it shows the concept.

This module has the judges that read features of the testbed's networks; picture_judges.py has those that see pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmark.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.api.suite import Evidence
    from benchmark.api.testbed import Testbed
    from metrics.detectors.rows import DetectionRows
    from metrics.encoders import Encoder

ALIKE = 0.9999
"""Two phrases whose CLIP features have a larger cosine are the same to CLIP."""


class JudgeSettings(BaseModel):
    """The settings that all judges have."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    by: str
    threshold: float = Field(0.5, ge=0, lt=1, description="A picture shows the concept if its score is above this.")


class Judge:
    """Scores pictures. `where` names the concept file in messages."""

    encoders: Sequence[str] = ()
    """The testbed's networks that it reads, by job."""
    repeatable = True
    """Whether its scores depend only on files of which `checksums` has the sha256."""

    def __init__(self, settings: JudgeSettings, where: str) -> None:
        self.threshold, self.where = settings.threshold, where

    def checksums(self) -> Mapping[str, str]:
        """Return the sha256 of the files that it reads. UsageError or DataError if one is missing."""
        return {}

    def networks(self, device: str) -> Mapping[str, Encoder]:
        """Return its own networks, by job."""
        return {}

    def name(self, testbed: Testbed) -> str:
        """Return the name of the network that decides, for the cells of records."""
        raise NotImplementedError

    def check(self, testbed: Testbed) -> str:
        """Try the judge, and return one line on what it does. UsageError or DataError if it cannot judge."""
        raise NotImplementedError

    def scores(self, evidence: Evidence) -> Tensor:
        """Return one score (N,) float64 in 0..1 per prompt of the suite."""
        raise NotImplementedError


class ClipSettings(JudgeSettings):
    by: Literal["clip"]
    positive: str = Field(min_length=1)
    negative: str | tuple[str, ...] = Field(min_length=1)


class ClipJudge(Judge):
    """Scores the probability, by the testbed's CLIP, that a picture fits the positive phrase, not a negative one.

    The probability is the softmax over all phrases, as in CLIP's zero-shot classification.
    """

    encoders = ("clip",)

    def __init__(self, settings: ClipSettings, where: str) -> None:
        super().__init__(settings, where)
        negative = (settings.negative,) if isinstance(settings.negative, str) else settings.negative
        self.phrases = [settings.positive, *negative]
        if not all(phrase.strip() for phrase in self.phrases):
            raise DataError(f"{where}: a phrase of judge.positive or judge.negative is empty: write one, or remove it.")

    def name(self, testbed: Testbed) -> str:
        return testbed.networks["clip"]

    def check(self, testbed: Testbed) -> str:
        text = self._text(testbed)
        cosine, nearest = max(zip((text[1:] @ text[0]).tolist(), self.phrases[1:], strict=True))
        if cosine > ALIKE:
            raise UsageError(
                f"{self.where}: the CLIP of testbed '{testbed.name}' reads {self.phrases[0]!r} and {nearest!r} as the "
                "same text: choose other phrases for judge.positive or judge.negative."
            )
        return f"CLIP tells {self.phrases[0]!r} from {nearest!r} (cosine {cosine:.2f})"

    def scores(self, evidence: Evidence) -> Tensor:
        import torch.nn.functional as F

        pictures = F.normalize(evidence.own["clip"].double(), dim=1)
        logits = evidence.testbed.clip.scale * pictures @ self._text(evidence.testbed).T
        return logits.softmax(1)[:, 0]

    def _text(self, testbed: Testbed) -> Tensor:
        """Return unit features (1 + negatives, d) of the phrases, the positive one first."""
        import torch.nn.functional as F

        return F.normalize(testbed.clip.text(self.phrases).double(), dim=1)


class DetectorSettings(JudgeSettings):
    by: Literal["detector"]
    labels: tuple[str, ...] = Field(min_length=1)


class DetectorJudge(Judge):
    """Scores the highest score of a detection with one of the labels; 0 if there is none."""

    encoders = ("detector",)

    def __init__(self, settings: DetectorSettings, where: str) -> None:
        super().__init__(settings, where)
        self.labels = settings.labels

    def name(self, testbed: Testbed) -> str:
        return testbed.networks["detector"]

    def check(self, testbed: Testbed) -> str:
        labels = self._detector(testbed).detector.labels
        if unknown_labels := [label for label in self.labels if label not in labels]:
            raise UsageError(
                f"{self.where}: the detector of testbed '{testbed.name}' has no label {unknown_labels[0]!r}: choose "
                f"among {', '.join(labels)}."
            )
        return f"{self.name(testbed)} detects {', '.join(self.labels)}"

    def scores(self, evidence: Evidence) -> Tensor:
        import torch

        from metrics.detectors.rows import detections

        pictures = detections(evidence.own["detector"], self._detector(evidence.testbed).detector.labels)
        best = [max((d.score for d in picture if d.label in self.labels), default=0.0) for picture in pictures]
        return torch.tensor(best, dtype=torch.float64)

    def _detector(self, testbed: Testbed) -> DetectionRows:
        from metrics.detectors.rows import DetectionRows

        encoder = testbed.encoder("detector") if "detector" in testbed.networks else None
        if not isinstance(encoder, DetectionRows):
            raise UsageError(
                f"{self.where}: testbed '{testbed.name}' has no detector: choose a different judge (clip, classifier "
                "or function)."
            )
        return encoder
