"""What prunings that look at pictures are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from methods.base import Data


@dataclass(frozen=True)
class Pictures:
    """Captioned pictures of the kind that the base was trained on; no suite asks for any of them."""

    data: Data
    """Latents, and the hidden states of their captions."""
    captions: Sequence[str]
    """The captions, in the same order."""
    null: Tensor
    """Hidden states of the empty prompt, (L, D)."""
    scheduler: dict[str, Any]
    """diffusers scheduler config."""
