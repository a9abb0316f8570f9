"""Loads mini's shipped pipeline: VAE, U-Net, tokenizer and text encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from benchmark.json_types import NetworkConfig
from methods.sampling import check_finite
from metrics.networks.untrusted import check_part
from metrics.networks.weights import check_values

DECODED = 16
"""Pictures that are decoded at once. The feature maps of more pictures do not fit in a core's cache."""


def load_vae(pipeline: Path, device: str = "cpu") -> AutoencoderKL:
    """Load the VAE in fp32 and eval mode."""
    check_part(pipeline / "vae")
    vae: Any = AutoencoderKL.from_pretrained(pipeline / "vae", use_safetensors=True)
    check_values(vae.state_dict(), f"The weights in {pipeline / 'vae'}")
    return vae.float().eval().requires_grad_(False).to(device)


def load_unet(pipeline: Path, device: str = "cpu") -> UNet2DConditionModel:
    """Load the base U-Net in fp32 and eval mode."""
    check_part(pipeline / "unet")
    unet: Any = UNet2DConditionModel.from_pretrained(pipeline / "unet", use_safetensors=True)
    check_values(unet.state_dict(), f"The weights in {pipeline / 'unet'}")
    return unet.float().eval().requires_grad_(False).to(device)


def load_tokenizer(pipeline: Path) -> Any:
    """Load the CLIP tokenizer, which gives 32 tokens per text."""
    return CLIPTokenizer.from_pretrained(pipeline / "tokenizer")


def load_text(pipeline: Path, device: str = "cpu") -> Callable[[Sequence[str]], Tensor]:
    """Load the text encoder as a function: texts -> hidden states (N, 32, 128) for the U-Net."""
    check_part(pipeline / "text_encoder")
    tower = (
        CLIPTextModel.from_pretrained(pipeline / "text_encoder", dtype=torch.float32, use_safetensors=True)
        .eval()
        .requires_grad_(False)
        .to(device)
    )
    check_values(tower.state_dict(), f"The weights in {pipeline / 'text_encoder'}")
    return text_function(tower, load_tokenizer(pipeline))


def text_function(tower: Any, words: Any) -> Callable[[Sequence[str]], Tensor]:
    """Return a text encoder with its tokenizer as a function: texts -> hidden states (N, L, D).

    The results of the last 64 calls are cached.
    """

    @lru_cache(maxsize=64)  # every model is sampled with the same shards of prompts
    @torch.no_grad()
    def encode(texts: tuple[str, ...]) -> Tensor:
        ids = words(
            list(texts), padding="max_length", max_length=words.model_max_length, truncation=True, return_tensors="pt"
        )
        return tower(ids.input_ids.to(tower.device))[0]

    return lambda texts: encode(tuple(texts))


@torch.no_grad()
def decode(vae: Any, latents: Tensor) -> Tensor:
    """Decode scaled latents (N, C, h, w) to pictures uint8 (N, 3, H, W) on the CPU, `DECODED` at once."""
    decoded = [_decoded(vae, part) for part in latents.split(DECODED)]
    return decoded[0] if len(decoded) == 1 else torch.cat(decoded)


def _decoded(vae: Any, latents: Tensor) -> Tensor:
    decoded = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
    pictures = check_finite(decoded, "The VAE decodes pictures")
    return ((pictures / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def unet_config(pipeline: Path) -> NetworkConfig:
    """Read the base U-Net's config."""
    return json.loads((pipeline / "unet" / "config.json").read_text())
