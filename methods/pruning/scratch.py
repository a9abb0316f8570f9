"""The architecture of `magnitude` with random weights: the control in Figure 5 for inheriting the base's weights."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from methods.pruning import magnitude
from methods.pruning.architecture import Architecture

SEED = 0


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """Prunes like `magnitude`, then replaces all weights by torch's default random initialisation.

    Raises:
        BudgetError: `macs` is not a fraction, or is below the smallest reachable one, which the message states.
    """
    small, architecture = magnitude.prune(unet, macs, latent_size, text_length)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for module in small.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
    return small, architecture
