"""The base U-Net run as if it were pruned: what a gate does not keep is multiplied by nought where it is read.

Gates multiply the input of the layer that reads them (conv2, to_out, the last matrix of the feed-forward), which is
exactly what cutting takes away. APTP multiplies a resnet's groups before norm2 instead: there the norm undoes any
factor but 0, and a group at 0 still hands SiLU(bias of norm2) on to conv2, so its masked and pruned forward differ.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from methods.pruning.architecture import gates, reader
from methods.pruning.vector import Layout


@contextmanager
def masked(unet: UNet2DConditionModel, vector: Tensor) -> Iterator[UNet2DConditionModel]:
    """Run `unet` under `vector` (length,), or one for each row of a batch (n, length), while inside.

    Values between 0 and 1 weigh elements, and gradients flow to them. `DataError` for a vector of another length.
    """
    widths, depths = Layout.of(unet).split(vector)
    found, hooks = gates(unet), []
    try:
        for name, part in widths.items():
            hooks.append(reader(found[name]).register_forward_pre_hook(_weighing(part)))
        for name, part in depths.items():
            hooks.append(unet.get_submodule(name).register_forward_hook(_mixing(part)))
        yield unet
    finally:
        for hook in hooks:
            hook.remove()


def _weighing(mask: Tensor) -> Callable[..., tuple[Tensor]]:
    """Multiply a layer's input channels by their elements' numbers (..., width)."""

    def hook(module: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        x = inputs[0]
        channel = 1 if x.ndim == 4 else x.ndim - 1  # convolutions have channels second, matrices last
        each = mask.repeat_interleave(x.shape[channel] // mask.shape[-1], dim=-1)
        places = [1] * x.ndim
        places[channel] = -1
        if mask.ndim == 2:
            places[0] = len(mask)
        return (x * each.reshape(places),)

    return hook


def _mixing(mask: Tensor) -> Callable[..., Any]:
    """Answer (1 - m) in + m f(in), `in` being the hidden states among the input's channels; m is () or (n,)."""

    def hook(module: Any, inputs: tuple[Tensor, ...], output: Any) -> Any:
        answer = output[0] if isinstance(output, tuple) else output
        weight = mask.reshape(-1, 1, 1, 1)
        mixed = (1 - weight) * inputs[0][:, : answer.shape[1]] + weight * answer
        return (mixed,) if isinstance(output, tuple) else mixed

    return hook
