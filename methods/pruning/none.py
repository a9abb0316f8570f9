"""No pruning: the control that separates the effect of erasing from the effect of compression."""

import copy

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from methods.pruning.architecture import Architecture


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """Keeps the whole network, as a control that separates the effect of erasing from the effect of compression.

    The other arguments are not used. Returns a copy of `unet`, and its architecture.
    """
    return copy.deepcopy(unet), Architecture.full(unet)
