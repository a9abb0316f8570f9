"""Drops whole resnets and transformers of a U-Net; the others keep their positions and skip connections.

A dropped module returns its input. The code of the blocks does not change: a dropped resnet of a down block still
outputs a skip connection, and a dropped resnet of an up block still receives one and ignores it. Dropping the second of
two resnets in down blocks and the second of three in up blocks therefore gives exactly the smaller network of BK-SDM
(Kim et al. 2023, arXiv 2305.15798).
"""

from collections.abc import Iterable
from typing import Any

from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from benchmark.errors import DataError


class Dropped(nn.Module):
    """Replacement for a dropped resnet or transformer. It has no weights and returns the first `out_channels` channels.

    In an up block, these channels are the hidden states; the skip connection, which is concatenated after them, is
    ignored.
    """

    def __init__(self, out_channels: int, transformer: bool) -> None:
        super().__init__()
        self.out_channels, self.transformer = out_channels, transformer

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor | tuple[Tensor]:
        kept = hidden_states[:, : self.out_channels]
        return (kept,) if self.transformer else kept  # blocks expect tuples from transformers


def stages(unet: UNet2DConditionModel) -> dict[str, Any]:
    """Return down blocks, mid block and up blocks by name, in the order of the forward pass."""
    down = {f"down_blocks.{k}": block for k, block in enumerate(unet.down_blocks)}
    up = {f"up_blocks.{k}": block for k, block in enumerate(unet.up_blocks)}
    return {**down, "mid_block": unet.mid_block, **up}


def droppable(unet: UNet2DConditionModel) -> dict[str, nn.Module]:
    """Return the resnets and transformers that can be dropped, by name, ordered by stage, resnets first.

    All transformers can be dropped. A resnet can be dropped only if its output has as many channels as the hidden
    states in its input.
    """
    modules: dict[str, nn.Module] = {}
    channels = unet.conv_in.out_channels
    for place, block in stages(unet).items():
        for k, resnet in enumerate(block.resnets):
            if isinstance(resnet, ResnetBlock2D) and resnet.out_channels == channels:
                modules[f"{place}.resnets.{k}"] = resnet
            channels = resnet.out_channels
        for k, transformer in enumerate(getattr(block, "attentions", ())):
            if isinstance(transformer, Transformer2DModel):
                modules[f"{place}.attentions.{k}"] = transformer
    return modules


def depth_gates(unet: UNet2DConditionModel) -> tuple[str, ...]:
    """Return the names of the modules that have a depth gate in APTP.

    These are the last resnet and the last transformer of each down and up block, if they can be dropped.
    """
    removable = droppable(unet)
    lasts = [
        f"{place}.{kind}.{len(getattr(block, kind)) - 1}"
        for place, block in stages(unet).items()
        for kind in ("resnets", "attentions")
        if place != "mid_block" and hasattr(block, kind)
    ]
    return tuple(name for name in lasts if name in removable)


def drop(unet: UNet2DConditionModel, names: Iterable[str]) -> None:
    """Drop modules of `unet` in place. Raises DataError for a module that does not exist or cannot be dropped."""
    removable = droppable(unet)
    for name in names:
        if name not in removable:
            raise DataError(
                f"The architecture drops module '{name}', which does not exist in this U-Net or cannot be dropped."
            )
        module: Any = removable[name]
        parent, _, leaf = name.rpartition(".")
        setattr(unet.get_submodule(parent), leaf, Dropped(module.out_channels, isinstance(module, Transformer2DModel)))
