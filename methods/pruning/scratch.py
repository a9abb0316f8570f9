"""Magnitude's architecture with weights drawn anew: the control of Figure 5, what the base's weights are worth."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from methods.pruning import magnitude
from methods.pruning.architecture import Architecture

SEED = 0


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """The architecture of `magnitude` with weights drawn anew, each layer's as torch starts them.

    Raises:
        BudgetError: `macs` is not a fraction, or less than cutting inner widths can reach (the least is named).
    """
    small, architecture = magnitude.prune(unet, macs, latent_size, text_length)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for module in small.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
    return small, architecture
