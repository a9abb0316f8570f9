"""Runs the base U-Net as if it were pruned, by multiplying the elements that a gate does not keep by 0.

A gate multiplies the input of the layer after it (conv2, to_out, or the last matrix of the feed-forward). This has the
same effect as cutting the elements. APTP multiplies the groups of a resnet before norm2 instead. There, the norm undoes
any factor except 0, and a group at 0 still sends SiLU(bias of norm2) to conv2, so the outputs of the masked and the
pruned network differ.
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
    """Apply an architecture vector to `unet` inside the context.

    Args:
        unet: the base.
        vector: one vector (length,) for all images, or one per image of the batch (n, length). Values between 0 and 1
            scale the elements. Gradients flow to the vector.

    Raises:
        DataError: the vector has the wrong length.
    """
    widths, depths = Layout.of(unet).split(vector)
    modules, hooks = gates(unet), []
    try:
        for name, part in widths.items():
            hooks.append(reader(modules[name]).register_forward_pre_hook(_weighing(part)))
        for name, part in depths.items():
            hooks.append(unet.get_submodule(name).register_forward_hook(_mixing(part)))
        yield unet
    finally:
        for hook in hooks:
            hook.remove()


def _weighing(mask: Tensor) -> Callable[..., tuple[Tensor]]:
    """Return a hook that multiplies the input channels of a layer by the mask (..., width) of their elements."""

    def hook(module: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        x = inputs[0]
        channel = 1 if x.ndim == 4 else x.ndim - 1  # convolutions have channels second, matrices last
        factors = mask.repeat_interleave(x.shape[channel] // mask.shape[-1], dim=-1)
        places = [1] * x.ndim
        places[channel] = -1
        if mask.ndim == 2:
            places[0] = len(mask)
        return (x * factors.reshape(places),)

    return hook


def _mixing(mask: Tensor) -> Callable[..., Any]:
    """Return a hook that changes a module's output to (1 - m) h + m f(h).

    h are the hidden states in the input, without a concatenated skip connection. The mask m has shape () or (n,).
    """

    def hook(module: Any, inputs: tuple[Tensor, ...], output: Any) -> Any:
        answer = output[0] if isinstance(output, tuple) else output
        weight = mask.reshape(-1, 1, 1, 1)
        mixed = (1 - weight) * inputs[0][:, : answer.shape[1]] + weight * answer
        return (mixed,) if isinstance(output, tuple) else mixed

    return hook
