"""Negative guidance, the target of ESD (Gandikota et al. 2023, arXiv 2303.07345)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def negative_guidance(text: Tensor, null: Tensor, eta: float) -> Tensor:
    """Return null - eta (text - null), the target of a student that should unlearn a text.

    v and x0 are affine in epsilon with an offset that depends on x_t alone, and the coefficients sum to one, so the
    target describes the same image for all three prediction types.

    Args:
        text: the teacher's prediction (n, C, h, w) under the text.
        null: the teacher's prediction under the empty prompt, of the same shape.
        eta: strength; 0 gives the prediction under the empty prompt.
    """
    return null - eta * (text - null)
