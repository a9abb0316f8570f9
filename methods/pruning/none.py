"""No pruning: the control that separates the effect of erasing from that of compression."""

import copy

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from methods.pruning.architecture import Architecture


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """Keeps the whole network: the control that separates erasing from compression. Only `unet` is used."""
    return copy.deepcopy(unet), Architecture.full(unet)
