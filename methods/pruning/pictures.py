"""Calibration images for pruning methods that need data."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from benchmark.json_types import NetworkConfig
from methods.base import Data


@dataclass(frozen=True)
class Pictures:
    """Captioned images that resemble the training data of the base. No caption is a prompt of a suite."""

    data: Data
    """Latents of the images, and hidden states of their captions."""
    captions: Sequence[str]
    """The captions, in the order of `data`."""
    null: Tensor
    """Hidden states of the empty prompt, (L, D)."""
    scheduler: NetworkConfig
    """diffusers scheduler config."""
