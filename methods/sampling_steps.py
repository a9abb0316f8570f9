"""Whether a scheduler can sample a model in so many steps; no torch, so that testbed files are checked at once."""

from collections.abc import Mapping
from typing import Any

from benchmark.errors import UsageError

TRAINED = 1000
"""Times that a model is trained on unless its scheduler's config says otherwise, as in diffusers."""


def most_steps(config: Mapping[str, Any]) -> int:
    """Most steps of sampling that a model can take, from its scheduler's config.

    With "leading" spacing, times begin at 1 instead of 0 (`steps_offset`), so there is one less than was trained on.
    """
    trained = int(config.get("num_train_timesteps", TRAINED))
    return trained - 1 if config.get("timestep_spacing", "leading") == "leading" else trained


def check_schedule(config: Mapping[str, Any], scheduler: str, steps: int) -> None:
    """Raise UsageError where `scheduler` cannot sample the model with this scheduler config in so many steps.

    That is: more steps than `most_steps`, and, for "pndm", a model that predicts the sample or has zero terminal SNR.
    """
    if scheduler == "pndm" and config.get("prediction_type", "epsilon") == "sample":
        raise UsageError("PNDM cannot sample a model that predicts the sample: choose scheduler 'ddim'.")
    if scheduler == "pndm" and config.get("rescale_betas_zero_snr"):
        raise UsageError("PNDM cannot rescale betas to zero terminal SNR, as this model has: choose scheduler 'ddim'.")
    if steps > most_steps(config):
        raise UsageError(
            f"This model can be sampled in {most_steps(config)} steps at most, not in {steps}: take fewer."
        )
