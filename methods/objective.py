"""Base class for objectives of the upper level of `bilevel`. Built-in ones are in methods/bilevel/objectives.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from torch import Tensor

Asked = Literal["text", "null", "anchor"]
ASKED: tuple[Asked, ...] = ("text", "null", "anchor")
"""Texts that an objective can list: the student's text, the empty prompt, or the concept's anchor phrase."""


class UpperObjective:
    """Base class of upper objectives. Subclasses declare `name`, `summary`, `asks` and `target`.

    The class is used without being instantiated. Predictions have shape (n, C, h, w) and the scheduler's prediction
    type: v, epsilon or x0.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    asks: ClassVar[tuple[Asked, ...]] = ()
    """Texts for which the teacher predicts."""

    @staticmethod
    def target(answers: Mapping[str, Tensor], eta: float) -> Tensor:
        """Return the prediction (n, C, h, w) that the student is trained towards.

        Args:
            answers: the teacher's predictions (n, C, h, w), one for each text in `asks`.
            eta: strength of negative guidance, a setting of the method.
        """
        raise NotImplementedError
