"""How a U-Net computes on its device: fp32 throughout, or bf16 where it is safe.

bf16 in training is autocast: weights, losses and optimisers stay fp32, matrix products and convolutions are done in
bf16, and the frozen teacher is kept in it. bf16 in sampling is a U-Net in bf16; guidance, scheduler and VAE stay fp32.
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
    """Let fp32 be fp32 on a GPU, for the whole process. UsageError for bf16 on one that has it not.

    TF32 rounds what is multiplied to 10 bits of mantissa, as half precision does, and cuDNN's convolutions do so unless
    they are told not to. Beside bf16 they are told as well: what runs of both precisions share, such as prunings and
    the latents of training pictures, must not depend on which of them came first.
    """
    import torch

    if device.type == "cuda":
        if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise UsageError(f"{torch.cuda.get_device_name(device)} does not compute in bf16: leave --precision out.")
        torch.backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")


def decoding(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """A context in which the VAE decodes what a U-Net of this precision has sampled.

    On a GPU its convolutions take TF32 beside bf16, of which it is the finer: the VAE keeps up with the U-Net.
    """
    import torch

    if device.type != "cuda" or precision == "fp32":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=True)


def arithmetic(device: torch.device, precision: Precision) -> Any:
    """A context in which fp32 networks compute in this precision."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def lowered(network: nn.Module, device: torch.device, precision: Precision) -> Any:
    """Bring a network that is not trained to the device in this precision, in place."""
    import torch

    if precision == "fp32":
        return network.to(device)
    # Not the overridden `to` of diffusers, which warns of parts that some of its models would rather keep in fp32.
    return torch.nn.Module.to(network, device, torch.bfloat16, **laid_out(device, precision))


def compiled(unet: Any, **how: Any) -> Any:
    """Compile a U-Net's transformer blocks in place, one by one: minutes less than compiling the whole.

    Pruned ones differ in their widths, and blocks of one class share a limit of compiled forms, which is low for that.
    `how` goes to torch.compile.
    """
    import torch

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 128)
    unet.compile_repeated_blocks(**how)
    return unet


def laid_out(device: torch.device, precision: Precision) -> dict[str, Any]:
    """Memory layout in which convolutions go fastest, as arguments of `to`: channels last for tensor cores in bf16.

    fp32 without TF32 does not run on tensor cores, and is left as it is; so are CPUs.
    """
    import torch

    return {"memory_format": torch.channels_last} if device.type == "cuda" and precision == "bf16" else {}
