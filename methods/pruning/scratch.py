"""The architecture of `magnitude` with new random weights: Figure 5's control for inheriting the base's weights."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from methods.pruning import magnitude
from methods.pruning.architecture import Architecture

SEED = 0


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """The architecture of `magnitude` with new random weights, by torch's default initialisation.

    Raises:
        BudgetError: `macs` is not a fraction, or is below the least that can be reached, which is named.
    """
    small, architecture = magnitude.prune(unet, macs, latent_size, text_length)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for module in small.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
    return small, architecture
