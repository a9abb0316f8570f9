"""Precision of U-Nets: fp32 throughout, or bf16 where it is safe.

With bf16, training uses autocast: weights, losses and optimisers stay in fp32, matrix products and convolutions are
computed in bf16, and the frozen teacher is stored in bf16. When sampling, the U-Net is in bf16, while guidance,
scheduler and VAE stay in fp32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from benchmark.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from methods.base import Precision


def settle(device: torch.device, precision: Precision) -> None:
    """Switch TF32 off on a GPU, for the whole process.

    TF32 rounds factors to a mantissa of 10 bits, like half precision, and cuDNN's convolutions use it by default. It is
    also switched off for bf16 runs, because runs of both precisions share results such as pruned U-Nets and latents of
    training images. These must not depend on which run came first.

    Raises:
        UsageError: the precision is bf16 and the GPU does not support it.
    """
    import torch

    if device.type == "cuda":
        if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise UsageError(f"{torch.cuda.get_device_name(device)} does not support bf16: use --precision fp32.")
        torch.backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")


def decoding(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Return the context manager in which the VAE decodes latents that a U-Net of this precision has sampled.

    With bf16 on a GPU, the VAE's convolutions use TF32, which is fast and more precise than bf16.
    """
    import torch

    if device.type != "cuda" or precision == "fp32":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=True)


def arithmetic(device: torch.device, precision: Precision) -> Any:
    """Return the context manager in which fp32 networks compute in this precision."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def lowered(network: nn.Module, device: torch.device, precision: Precision) -> Any:
    """Move a network that is not trained to the device and convert it to this precision, in place."""
    import torch

    if precision == "fp32":
        return network.to(device)
    # The `to` of nn.Module, because that of diffusers warns about parts that some models should keep in fp32.
    return torch.nn.Module.to(network, device, torch.bfloat16, **laid_out(device, precision))


def compiled(unet: Any, **options: Any) -> Any:
    """Compile the transformer blocks of a U-Net one by one, in place.

    This takes minutes less than compiling the whole U-Net. It raises the limit of recompilations, because all blocks of
    a class share this limit and pruned blocks differ in their widths.

    Args:
        unet: the U-Net.
        options: arguments of torch.compile.
    """
    import torch

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 128)
    unet.compile_repeated_blocks(**options)
    return unet


def laid_out(device: torch.device, precision: Precision) -> dict[str, Any]:
    """Return arguments of `to` that set the memory layout for fast convolutions: channels last with bf16 on a GPU.

    In all other cases the layout does not change, because fp32 without TF32 does not use tensor cores.
    """
    import torch

    return {"memory_format": torch.channels_last} if device.type == "cuda" and precision == "bf16" else {}
