"""Counts FLOPs, parameters and memory of a pipeline's networks on the `meta` device, and writes `sizes.json`.

python -m benchmark.cost.count_flops > benchmark/cost/sizes.json
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel

from benchmark.json_types import JsonObject, NetworkConfig
from benchmark.testbeds.mini.testbed import WEIGHTS
from benchmark.testbeds.stable_diffusion import architecture
from methods.pruning.macs import forward_flops

SD21_SIZES = (8, 16, 32, 64, 96)
"""Latent heights for which SD 2.1's U-Net is counted, because the cost of attention is not proportional to the area."""


class Live(TorchDispatchMode):
    """Counts the bytes of tensors that were created inside the context and still exist, and the peak of this number."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._bytes_by_storage: dict[int, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            if (key := storage._cdata) not in self._bytes_by_storage:
                self._bytes_by_storage[key] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._release, key)
        return out

    def _release(self, key: int) -> None:
        self.now -= self._bytes_by_storage.pop(key, 0)


def peak(work: Callable[[], Any]) -> int:
    """Return the largest number of bytes that `work` has allocated at any time.

    Attention is replaced by the kernel that GPUs use, which does not store attention scores; the default kernel of
    `meta` does.
    """

    def attend(q: Any, k: Any, v: Any, *args: Any, **kwargs: Any) -> Any:
        return torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, None, q.requires_grad)[0]

    live = Live()
    with patch("torch.nn.functional.scaled_dot_product_attention", attend), live:
        work()
    return live.peak


def unet_memory(unet: UNet2DConditionModel, size: int, length: int) -> dict[str, int]:
    """Return the bytes per image of a training step (without weights and gradients) and of sampling.

    They are counted in the precision of `unet`.
    """
    config: Any = unet.config

    def bytes_of(images: int, train: bool) -> int:
        like: dict[str, Any] = {"device": "meta", "dtype": unet.dtype}
        x = torch.empty(images, config.in_channels, size, size, **like)
        t = torch.zeros(images, dtype=torch.long, device="meta")
        text = torch.empty(images, length, config.cross_attention_dim, **like)
        unet.requires_grad_(train)
        with torch.set_grad_enabled(train):
            return peak(lambda: unet(x, t, text, return_dict=False)[0])

    return {
        "training": bytes_of(2, True) - bytes_of(1, True),
        "sampling": bytes_of(2, False) - bytes_of(1, False),
    }


def sizes(
    unet_config: Mapping[str, Any], vae_config: Mapping[str, Any], text_config: Any, latent_sizes: tuple[int, ...]
) -> JsonObject:
    """Return the values of `network_costs.Sizes` for a pipeline.

    The U-Net's FLOPs are counted for all `latent_sizes`, everything else for the first of them.
    """
    size, length = latent_sizes[0], text_config.max_position_embeddings
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(dict(unet_config))
        vae: Any = AutoencoderKL.from_config(dict(vae_config))
        tower = CLIPTextModel(text_config)
        latent, ids = torch.empty(1, 4, size, size), torch.zeros(1, length, dtype=torch.long)
        pixels = torch.empty(1, 3, *(size * 2 ** (len(vae.config.block_out_channels) - 1),) * 2)
    unet_flops = {height: forward_flops(unet, height, length) for height in latent_sizes}
    with torch.no_grad():
        decoding = peak(lambda: vae.decode(latent))
    return {
        "unet": {str(height): flops for height, flops in sorted(unet_flops.items())},
        "decode": flops_of(lambda: vae.decode(latent)),
        "encode": flops_of(lambda: vae.encode(pixels)),
        "text": flops_of(lambda: tower(ids)),
        "parameters": {"unet": count(unet), "vae": count(vae), "text": count(tower)},
        "memory": {**unet_memory(unet, size, length), "decoding": decoding},
    }


def count(module: torch.nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def flops_of(work: Callable[[], Any]) -> int:
    """Return the FLOPs of a call of `work`."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return counter.get_total_flops()


def _mini() -> JsonObject:
    def config(part: str) -> NetworkConfig:
        return dict(json.loads((Path(WEIGHTS) / "pipeline" / part / "config.json").read_text()))

    return sizes(config("unet"), config("vae"), CLIPTextConfig(**config("text_encoder")), (16,))


if __name__ == "__main__":
    order = (64, *(height for height in SD21_SIZES if height != 64))
    sd21 = sizes(architecture.UNET, architecture.VAE, CLIPTextConfig(**architecture.TEXT), order)
    print(json.dumps({"mini": _mini(), "sd21": sd21}, indent=1))
