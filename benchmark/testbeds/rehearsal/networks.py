"""Creates the networks of SD 2.1 and the scoring networks in their real shapes, with random weights and no download."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from benchmark.json_types import NetworkConfig
from benchmark.testbeds.stable_diffusion import architecture
from metrics.encoders import Encoder, ModuleEncoder, OpenClipEncoder

SPREAD = 0.02
"""Standard deviation of all weights except those of norms; activations stay finite in bf16."""


def filled(network: Any, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Any:
    """Fill a network on the meta device with random weights of the given dtype on `device`, and return it."""
    # nn.Module.to is called directly, because diffusers' `to` warns about models that should remain in fp32.
    network = nn.Module.to(network, dtype).to_empty(device=device).eval().requires_grad_(False)
    source = torch.Generator(device).manual_seed(seed)
    for name, weight in network.named_parameters():
        if weight.ndim > 1:
            weight.data.normal_(0, SPREAD, generator=source)
        else:
            weight.data.fill_(1.0 if name.endswith("weight") else 0.0)
    for name, buffer in network.named_buffers():
        if name.endswith("position_ids"):
            buffer.copy_(torch.arange(buffer.numel()).view_as(buffer))
    return network


def unet(device: torch.device, dtype: torch.dtype) -> UNet2DConditionModel:
    """Create the U-Net (865.9 M parameters). It casts its inputs, because latents and hidden states are in fp32."""
    with torch.device("meta"):
        network = UNet2DConditionModel(**architecture.UNET)
    return cast_inputs(filled(network, device, dtype))


def cast_inputs(network: Any) -> Any:
    """Make a U-Net cast its inputs to its own precision, in place, and return it."""

    def cast(module: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        def cast_value(value: Any) -> Any:
            return value.to(module.dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

        return tuple(map(cast_value, args)), {name: cast_value(value) for name, value in kwargs.items()}

    network.register_forward_pre_hook(cast, with_kwargs=True)
    return network


def vae(device: torch.device, dtype: torch.dtype) -> Any:
    with torch.device("meta"):
        network = AutoencoderKL(**architecture.VAE)
    return filled(network, device, dtype)


def tower(device: torch.device, dtype: torch.dtype) -> Any:
    with torch.device("meta"):
        network = CLIPTextModel(CLIPTextConfig(**architecture.TEXT))
    return filled(network, device, dtype)


class Words:
    """A tokenizer whose token ids are derived from checksums of words: start token, words, end token, padding."""

    model_max_length = architecture.TEXT["max_position_embeddings"]
    added_tokens_encoder: ClassVar[dict[str, int]] = {}  # diffusers reads it for words of textual inversion

    def tokenize(self, text: str) -> list[str]:
        return text.split()

    def __call__(self, texts: str | Sequence[str], **options: Any) -> SimpleNamespace:
        """Return `input_ids` (N, 77) of texts; longer texts are truncated."""
        texts, length = [texts] if isinstance(texts, str) else texts, self.model_max_length
        ids = torch.zeros(len(texts), length, dtype=torch.long)
        for row, text in zip(ids, texts, strict=True):
            words = self.tokenize(text)
            tokens = [int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) % 49000 + 3 for word in words]
            row[1 : len(tokens) + 1] = torch.tensor(tokens, dtype=torch.long)[: length - 1]
            row[min(len(tokens) + 1, length - 1)] = architecture.TEXT["eos_token_id"]
        return SimpleNamespace(input_ids=ids)


def encoder(job: str, device: torch.device) -> Encoder:
    """Create the encoder for a job: CLIP ViT-B/32, CSD's ViT-L/14, Inception v3 or NudeNet."""
    if job == "detector":
        from benchmark.testbeds.stable_diffusion.scoring_networks import detector

        return detector()
    network: nn.Module
    if job == "clip":
        import open_clip

        network = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None, device=device)
        words = open_clip.get_tokenizer("ViT-B-32-quickgelu")
        return OpenClipEncoder("random-vit-b-32", network.requires_grad_(False), words)
    if job == "style":
        from metrics.networks.csd import encoder as style_encoder
        from metrics.networks.csd import style_tower

        return style_encoder(style_tower(_vit_l(), Path("random")), "random-vit-l", str(device))
    from metrics.networks.inception import HALF, SIZE, FidInception

    return ModuleEncoder("random-inception", FidInception().requires_grad_(False).to(device), SIZE, HALF, HALF, 32)


def _vit_l(width: int = 1024, layers: int = 24, patch: int = 14, places: int = 257, size: int = 768) -> NetworkConfig:
    """Return constant weights under the names of CSD's checkpoint."""
    shapes: dict[str, tuple[int, ...]] = {
        "class_embedding": (width,), "positional_embedding": (places, width), "conv1.weight": (width, 3, patch, patch),
        **{f"{norm}.{part}": (width,) for norm in ("ln_pre", "ln_post") for part in ("weight", "bias")},
    }  # fmt: skip
    for k in range(layers):
        at = f"transformer.resblocks.{k}"
        shapes |= {f"{at}.{norm}.{part}": (width,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")}
        for name, out, into in (
            ("attn.in_proj_", 3 * width, width), ("attn.out_proj.", width, width), ("mlp.c_fc.", 4 * width, width),
            ("mlp.c_proj.", width, 4 * width),
        ):  # fmt: skip
            shapes |= {f"{at}.{name}weight": (out, into), f"{at}.{name}bias": (out,)}
    weights = {f"backbone.{name}": torch.full(shape, SPREAD) for name, shape in shapes.items()}
    return weights | {f"last_layer_{part}": torch.full((width, size), SPREAD) for part in ("style", "content")}
