"""Multiply-accumulates of a U-Net forward pass, counted by `torch.utils.flop_counter` on the `meta` device.

A share of MACs depends on the latent size and on the counting rule, so state both with every share. For example,
attention is 46 % of SD 2.1 at 96^2 with the counting rule published for APTP, but 26 % at 64^2 as it is computed.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from methods.pruning.architecture import gates, width


def module_macs(unet: UNet2DConditionModel, latent_size: int, text_length: int) -> dict[str, int]:
    """Return the MACs of a forward pass for one image by module name; "" is the whole network.

    Modules without MACs are left out.

    Args:
        unet: the network.
        latent_size: height and width of the latent. Shares of MACs depend on it: 80 % at 64^2 is not 80 % at 96^2.
        text_length: number of tokens of the text states. Shares of MACs depend on it as well.
    """
    return dict(_count_once(unet, (latent_size, text_length), lambda: _count_modules(unet, latent_size, text_length)))


KEPT_COUNTS = 64
"""Number of counts that a process keeps."""
_counted: dict[tuple[str, tuple[str | int, ...]], dict[str, int]] = {}
"""Counts of this process by structure of the network and sizes of its inputs; a count takes up to a second."""


def _count_once(
    unet: UNet2DConditionModel, sizes: tuple[str | int, ...], count: Callable[[], dict[str, int]]
) -> dict[str, int]:
    """Return what `count` returned for an earlier network of the same structure, or call it."""
    structure = _structure(unet)
    if structure is None:
        return count()
    key = (structure, sizes)
    if key not in _counted:
        macs = count()
        if len(_counted) >= KEPT_COUNTS:
            del _counted[next(iter(_counted))]  # the oldest
        _counted[key] = macs
    return _counted[key]


PROCESSORS = (AttnProcessor, AttnProcessor2_0)
"""diffusers' own ways to compute attention, which have no settings."""


def _structure(unet: UNet2DConditionModel) -> str | None:
    """Return a digest of everything that decides the MACs of a network, or None if the network has been modified.

    It covers the type, the plain attributes and the shapes of weights of every module. Networks with hooks, or with
    functions or objects as attributes (such as a replaced `forward`), have none.
    """
    digest = hashlib.sha256()
    for name, module in unet.named_modules():
        digest.update(f"{name}\n{type(module).__module__}.{type(module).__qualname__}\n".encode())
        for attribute, value in vars(module).items():
            if attribute == "_modules":
                continue
            if attribute in ("_parameters", "_buffers"):
                value = {key: t if t is None else (*t.shape, str(t.dtype)) for key, t in value.items()}
            elif attribute == "_internal_dict":  # diffusers' config, with its path
                value = {key: item for key, item in value.items() if not key.startswith("_")}
            elif "hooks" in attribute and value:
                return None
            elif type(value) in PROCESSORS:
                value = type(value).__qualname__
            elif not _is_plain(value):
                return None
            digest.update(f"{attribute}={value!r}\n".encode())
    return digest.hexdigest()


def _is_plain(value: object) -> bool:
    """Return whether a value is a number, a string, None, a data type, or a collection of these."""
    if isinstance(value, Mapping):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str | torch.dtype | torch.device)


def _count_modules(unet: UNet2DConditionModel, latent_size: int, text_length: int) -> dict[str, int]:
    # Counting needs only shapes. With meta tensors as weights it is fast for any network and gives the same result on
    # every device (versions of torch differ in whether they count fused attention kernels).
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
    """Return the MACs of a forward pass for one image; SD 2.1 has 402.1 G with 64^2 latents and 77 tokens."""
    return module_macs(unet, latent_size, text_length)[""]


def forward_flops(unet: UNet2DConditionModel, latent_size: int, text_length: int) -> int:
    """Return the FLOPs of a forward pass for one image, two per MAC."""
    return 2 * count_macs(unet, latent_size, text_length)


def element_macs(unet: UNet2DConditionModel, latent_size: int, text_length: int) -> dict[str, float]:
    """Return the MACs of one element of each gate, by name; MACs are linear in the number of kept elements."""
    macs = module_macs(unet, latent_size, text_length)
    costs = {}
    for name, module in gates(unet).items():
        parts = ["conv1", "time_emb_proj", "conv2"] if isinstance(module, ResnetBlock2D) else [""]
        whole = sum(macs.get(f"{name}.{part}".rstrip("."), 0) for part in parts)
        costs[name] = whole / width(module)
    return costs


PUBLISHED_SIZE = 96
"""Height and width of the latents for which APTP's MACs are published."""


def published_macs(unet: UNet2DConditionModel, latent_size: int = PUBLISHED_SIZE) -> int:
    """Return the MACs as APTP's authors count them; SD 2.1 has 1,384 G with 96^2 latents (1,075 G as it is computed).

    The text has one token. Every attention, including cross-attention, is counted as self-attention over the n
    positions of the latent, plus n^2 for the softmax of each head. Norms, activations and biases (0.05 % in total) are
    left out.
    """
    return _count_once(unet, ("published", latent_size), lambda: {"": _count_published(unet, latent_size)})[""]


def _count_published(unet: UNet2DConditionModel, latent_size: int) -> int:
    extra = 0

    def attend(module: Any, inputs: Any, output: Any) -> None:
        nonlocal extra
        places = output.shape[1]
        extra += module.heads * places**2
        if module.is_cross_attention:
            extra += 2 * places * (places - 1) * module.inner_dim  # counted with n keys, although there is one

    hooks = [m.register_forward_hook(attend) for m in unet.modules() if isinstance(m, Attention)]
    try:
        counted = count_macs(unet, latent_size, text_length=1)
    finally:
        for hook in hooks:
            hook.remove()
    return counted + extra
