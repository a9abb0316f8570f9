"""The contract of objectives of the upper level of `bilevel`; methods/bilevel/objectives.py has the built-in ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from torch import Tensor

Asked = Literal["text", "null", "anchor"]
ASKED: tuple[Asked, ...] = ("text", "null", "anchor")
"""Texts that an objective can name: the student's own text, the empty prompt, or the concept's anchor phrase."""


class UpperObjective:
    """A class that is never instantiated; subclasses declare `name`, `summary`, `asks` and `target`.

    Predictions (n, C, h, w) are of the scheduler's prediction type: v, epsilon or x0.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    asks: ClassVar[tuple[Asked, ...]] = ()
    """Texts under which the teacher predicts."""

    @staticmethod
    def target(answers: Mapping[str, Tensor], eta: float) -> Tensor:
        """Return the prediction that the student is trained towards.

        Args:
            answers: the teacher's predictions, by the names in `asks`.
            eta: strength of negative guidance, a setting of the method.
        """
        raise NotImplementedError
