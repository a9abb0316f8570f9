"""Multiply-accumulates of a U-Net forward pass, counted by `torch.utils.flop_counter` on the `meta` device."""

from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode


def module_macs(unet: UNet2DConditionModel, latent_size: int, text_length: int) -> dict[str, int]:
    """Return MACs of one image by module name ("" is the whole network); modules without any are left out.

    Args:
        latent_size: height and width of the latent.
        text_length: tokens of the text states. Both matter: 80 % at 64^2 is not 80 % at 96^2.
    """
    # Only shapes count: weights are replaced by meta tensors, so a network of any size is counted in no time and on
    # every device alike (fused attention kernels are counted, or not, differently from version to version).
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in unet.state_dict().items()}
    config: Any = unet.config
    latent = torch.empty(1, config.in_channels, latent_size, latent_size, device="meta", dtype=unet.dtype)
    text = torch.empty(1, text_length, config.cross_attention_dim, device="meta", dtype=unet.dtype)
    t = torch.zeros(1, dtype=torch.long, device="meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        functional_call(unet, shapes, (latent, t, text))
    root = type(unet).__name__
    return {
        name.removeprefix(root).removeprefix("."): sum(operations.values()) // 2
        for name, operations in counter.get_flop_counts().items()
        if name.startswith(root)
    }


def count_macs(unet: UNet2DConditionModel, latent_size: int, text_length: int) -> int:
    """Return MACs of one image; SD 2.1 at 64^2 latents and 77 tokens has 402.1 G."""
    return module_macs(unet, latent_size, text_length)[""]


def forward_flops(unet: UNet2DConditionModel, latent_size: int, text_length: int) -> int:
    """Return FLOPs (two a MAC) of one image's forward pass."""
    return 2 * count_macs(unet, latent_size, text_length)
