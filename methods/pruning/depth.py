"""Dropping whole resnets and transformers of a U-Net; what is left runs in the same places, over the same skips.

A dropped module hands on what comes to it. The blocks keep their loops, so a dropped resnet of a down block still
gives its skip, and one of an up block still takes one (and leaves it): removing the second of two down and the second
of three up is then exactly the smaller network of BK-SDM (Kim et al. 2023, arXiv 2305.15798).
"""

from collections.abc import Iterable
from typing import Any

from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from benchmark.errors import DataError


class Dropped(nn.Module):
    """Stands where a resnet or a transformer was: without weights, it hands on the first `out_channels` channels.

    In an up block those are the hidden states; the skip that is joined behind them is left.
    """

    def __init__(self, out_channels: int, transformer: bool) -> None:
        super().__init__()
        self.out_channels, self.transformer = out_channels, transformer

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor | tuple[Tensor]:
        kept = hidden_states[:, : self.out_channels]
        return (kept,) if self.transformer else kept  # blocks ask transformers for tuples


def stages(unet: UNet2DConditionModel) -> dict[str, Any]:
    """Return down blocks, mid block and up blocks by name, in the order in which they run."""
    down = {f"down_blocks.{k}": block for k, block in enumerate(unet.down_blocks)}
    up = {f"up_blocks.{k}": block for k, block in enumerate(unet.up_blocks)}
    return {**down, "mid_block": unet.mid_block, **up}


def droppable(unet: UNet2DConditionModel) -> dict[str, nn.Module]:
    """Return the resnets and transformers that can go, stage by stage, resnets first.

    All transformers can; a resnet can where it gives as many channels as hidden states come to it.
    """
    found: dict[str, nn.Module] = {}
    channels = unet.conv_in.out_channels
    for place, block in stages(unet).items():
        for k, resnet in enumerate(block.resnets):
            if isinstance(resnet, ResnetBlock2D) and resnet.out_channels == channels:
                found[f"{place}.resnets.{k}"] = resnet
            channels = resnet.out_channels
        for k, transformer in enumerate(getattr(block, "attentions", ())):
            if isinstance(transformer, Transformer2DModel):
                found[f"{place}.attentions.{k}"] = transformer
    return found


def depth_gates(unet: UNet2DConditionModel) -> tuple[str, ...]:
    """Name what APTP's depth gates drop: the last resnet and transformer of each down and up block that can go."""
    can = droppable(unet)
    lasts = [
        f"{place}.{kind}.{len(getattr(block, kind)) - 1}"
        for place, block in stages(unet).items()
        for kind in ("resnets", "attentions")
        if place != "mid_block" and hasattr(block, kind)
    ]
    return tuple(name for name in lasts if name in can)


def drop(unet: UNet2DConditionModel, names: Iterable[str]) -> None:
    """Drop modules of `unet` in place; `DataError` for one that is not there or changes the channels."""
    can = droppable(unet)
    for name in names:
        if name not in can:
            raise DataError(f"The architecture drops '{name}', which this U-Net cannot do without.")
        module: Any = can[name]
        parent, _, leaf = name.rpartition(".")
        setattr(unet.get_submodule(parent), leaf, Dropped(module.out_channels, isinstance(module, Transformer2DModel)))
