"""What the upper level of `bilevel` asks for: the answer that the student is to give under the target's text.

An objective says under which texts the frozen teacher is asked, and makes the wanted answer of what it says; the loss
is the mean squared distance to that, and the passes are charged by what is asked. Another one is brought from a file:

    class Forget:
        name, summary, asks = "forget", "answer as for no prompt at all", ("null",)

        @staticmethod
        def target(answers, eta):
            return answers["null"]

    bench run --method bilevel --suite artists --set objective=path/to/file.py:Forget
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from methods.training.negative_guidance import negative_guidance

if TYPE_CHECKING:
    from torch import Tensor


Asked = Literal["text", "null", "anchor"]
ASKED: tuple[Asked, ...] = ("text", "null", "anchor")
"""The text that the student sees, the empty prompt, or the concept's anchor phrase."""


class UpperObjective(Protocol):
    """A class that is never instantiated. Predictions (n, C, h, w) are in the scheduler's own space: v, epsilon, x0."""

    name: ClassVar[str]
    summary: ClassVar[str]
    asks: ClassVar[tuple[Asked, ...]]

    @staticmethod
    def target(answers: Mapping[str, Tensor], eta: float) -> Tensor:
        """The wanted answer, from those of the teacher by what was asked; `eta` is the method's setting."""
        ...


class NegativeGuidance:
    name: ClassVar[str] = "negative-guidance"
    summary: ClassVar[str] = "turn away from the concept: e_null - eta (e_text - e_null), as ESD does"
    asks: ClassVar[tuple[Asked, ...]] = ("text", "null")

    @staticmethod
    def target(answers: Mapping[str, Tensor], eta: float) -> Tensor:
        return negative_guidance(answers["text"], answers["null"], eta)


class Anchor:
    name: ClassVar[str] = "anchor"
    summary: ClassVar[str] = "answer as the teacher does for the anchor phrase, such as art (Eq. 6)"
    asks: ClassVar[tuple[Asked, ...]] = ("anchor",)

    @staticmethod
    def target(answers: Mapping[str, Tensor], eta: float) -> Tensor:
        return answers["anchor"]
