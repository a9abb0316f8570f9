"""Objectives of the upper level of `bilevel`: what the student should predict under the target's text.

An objective names the texts under which the frozen teacher predicts (`asks`) and combines these predictions into a
target; the loss is the mean squared distance to it. Each text costs one pass of the teacher. An objective of your own
can be loaded from a file:

    from benchmark.api import UpperObjective

    class Forget(UpperObjective):
        name, summary, asks = "forget", "answer as for no prompt at all", ("null",)

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
    summary: ClassVar[str] = "turn away from the concept: e_null - eta (e_text - e_null), as ESD does"
    asks: ClassVar[tuple[Asked, ...]] = ("text", "null")

    @staticmethod
    def target(answers: Mapping[str, Tensor], eta: float) -> Tensor:
        return negative_guidance(answers["text"], answers["null"], eta)


class Anchor(UpperObjective):
    name: ClassVar[str] = "anchor"
    summary: ClassVar[str] = "answer as the teacher does for the anchor phrase, such as art (Eq. 6)"
    asks: ClassVar[tuple[Asked, ...]] = ("anchor",)

    @staticmethod
    def target(answers: Mapping[str, Tensor], eta: float) -> Tensor:
        return answers["anchor"]
