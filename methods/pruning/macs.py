"""Multiply-accumulates of a U-Net forward pass, counted by `torch.utils.flop_counter` on the `meta` device.

A share of MACs depends on the latent's size and on the counter: at 96^2, and counted as published for APTP, attention
is 46 % of SD 2.1; at 64^2 and counted as it is, 26 %. Whoever states a share states both.
"""

from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from methods.pruning.architecture import gates, width


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


def element_macs(unet: UNet2DConditionModel, latent_size: int, text_length: int) -> dict[str, float]:
    """Return the MACs that one element of each gate costs; all gates are linear in the number kept."""
    macs = module_macs(unet, latent_size, text_length)
    costs = {}
    for name, module in gates(unet).items():
        parts = ["conv1", "time_emb_proj", "conv2"] if isinstance(module, ResnetBlock2D) else [""]
        whole = sum(macs.get(f"{name}.{part}".rstrip("."), 0) for part in parts)
        costs[name] = whole / width(module)
    return costs


PUBLISHED_SIZE = 96
"""Height and width of the latents that APTP's MACs are stated for."""


def published_macs(unet: UNet2DConditionModel, latent_size: int = PUBLISHED_SIZE) -> int:
    """Return MACs as APTP's authors count them; SD 2.1 at 96^2 latents has 1,384 G (1,075 G as they are).

    Every attention is counted as one of the latent's n places with themselves, cross-attention too, and its softmax as
    n^2 a head; the text has one token. Norms, activations and biases, 0.05 % in all, are left out here.
    """
    extra = 0

    def attend(module: Any, inputs: Any, output: Any) -> None:
        nonlocal extra
        places = output.shape[1]
        extra += module.heads * places**2
        if module.is_cross_attention:
            extra += 2 * places * (places - 1) * module.inner_dim  # n keys where there is one

    hooks = [m.register_forward_hook(attend) for m in unet.modules() if isinstance(m, Attention)]
    try:
        counted = count_macs(unet, latent_size, text_length=1)
    finally:
        for hook in hooks:
            hook.remove()
    return counted + extra
