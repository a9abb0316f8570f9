"""No pruning: the control that separates forgetting from compression."""

import copy

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from methods.pruning.architecture import Architecture


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """The whole network: the control that separates forgetting from compression. No argument is read."""
    return copy.deepcopy(unet), Architecture.full(unet)
