"""Objectives of the upper level of `bilevel`: what the student should predict under the target's text.

An objective lists the texts under which the frozen teacher predicts (`asks`) and combines these predictions into a
target. The loss is the mean squared error between the student's prediction and this target. Each text costs one forward
pass of the teacher. You can load your own objective from a file:

    from benchmark.api import UpperObjective

    class Forget(UpperObjective):
        name, summary, asks = "forget", "predict as for the empty prompt", ("null",)

        @staticmethod
        def target(answers, eta):
            return answers["null"]

    bench run --method bilevel --suite artists --set objective=path/to/file.py:Forget
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from methods.objective import Asked, UpperObjective
from methods.training.negative_guidance import negative_guidance

if TYPE_CHECKING:
    from torch import Tensor


class NegativeGuidance(UpperObjective):
    name: ClassVar[str] = "negative-guidance"
    summary: ClassVar[str] = "negative guidance as in ESD: predict e_null - eta (e_text - e_null)"
    asks: ClassVar[tuple[Asked, ...]] = ("text", "null")

    @staticmethod
    def target(answers: Mapping[str, Tensor], eta: float) -> Tensor:
        return negative_guidance(answers["text"], answers["null"], eta)


class Anchor(UpperObjective):
    name: ClassVar[str] = "anchor"
    summary: ClassVar[str] = "predict what the teacher predicts for the anchor phrase, such as 'art' (Eq. 6)"
    asks: ClassVar[tuple[Asked, ...]] = ("anchor",)

    @staticmethod
    def target(answers: Mapping[str, Tensor], eta: float) -> Tensor:
        return answers["anchor"]
