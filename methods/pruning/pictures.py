"""Pictures for prunings that need calibration data."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from benchmark.json_types import NetworkConfig
from methods.base import Data


@dataclass(frozen=True)
class Pictures:
    """Captioned pictures like the base's training data; no caption is a prompt of a suite."""

    data: Data
    """Latents and the hidden states of their captions."""
    captions: Sequence[str]
    """The captions, in the same order."""
    null: Tensor
    """Hidden states of the empty prompt, (L, D)."""
    scheduler: NetworkConfig
    """diffusers scheduler config."""
