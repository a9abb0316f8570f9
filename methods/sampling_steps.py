"""Checks whether a scheduler can sample a model in a given number of steps.

This module does not import torch, so that testbed files are checked quickly.
"""

from collections.abc import Mapping
from typing import Any

from benchmark.errors import UsageError

TRAINED = 1000
"""Default number of training timesteps if the scheduler config does not state it, as in diffusers."""


def most_steps(config: Mapping[str, Any]) -> int:
    """Return the largest number of sampling steps for a model with this scheduler config.

    With "leading" spacing, timesteps begin at 1 instead of 0 (`steps_offset`), so one training timestep is not used.
    """
    trained = int(config.get("num_train_timesteps", TRAINED))
    return trained - 1 if config.get("timestep_spacing", "leading") == "leading" else trained


def check_schedule(config: Mapping[str, Any], scheduler: str, steps: int) -> None:
    """Raise UsageError if `scheduler` cannot sample a model with this scheduler config in `steps` steps.

    This is the case for more steps than `most_steps`. "pndm" also cannot sample a model that predicts x0 ("sample") or
    that has zero terminal SNR.
    """
    if scheduler == "pndm" and config.get("prediction_type", "epsilon") == "sample":
        raise UsageError("PNDM cannot sample a model whose prediction_type is 'sample': choose scheduler 'ddim'.")
    if scheduler == "pndm" and config.get("rescale_betas_zero_snr"):
        raise UsageError(
            "PNDM cannot sample a model with zero terminal SNR (rescale_betas_zero_snr): choose scheduler 'ddim'."
        )
    if steps > most_steps(config):
        raise UsageError(
            f"This model can be sampled in at most {most_steps(config)} steps, not in {steps}: choose fewer steps."
        )
