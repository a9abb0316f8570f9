"""Negative guidance, the training target of ESD (Gandikota et al. 2023, arXiv 2303.07345)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def negative_guidance(text: Tensor, null: Tensor, eta: float) -> Tensor:
    """Return null - eta (text - null), the training target of a student that should unlearn a text.

    The target describes the same image for all three prediction types: v and x0 are affine in epsilon with an offset
    that depends only on x_t, and the coefficients 1 + eta and -eta sum to 1.

    Args:
        text: the teacher's prediction (n, C, h, w) for the text.
        null: the teacher's prediction (n, C, h, w) for the empty prompt.
        eta: strength; 0 gives the prediction for the empty prompt.
    """
    return null - eta * (text - null)
