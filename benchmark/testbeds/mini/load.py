"""mini's shipped networks, from their folders."""

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
from metrics.networks.weights import check_values


def load_vae(pipeline: Path, device: str = "cpu") -> AutoencoderKL:
    """The VAE in fp32, eval mode."""
    vae: Any = AutoencoderKL.from_pretrained(pipeline / "vae")
    check_values(vae.state_dict(), f"The weights in {pipeline / 'vae'}")
    return vae.float().eval().requires_grad_(False).to(device)


def load_unet(pipeline: Path, device: str = "cpu") -> UNet2DConditionModel:
    """The base U-Net in fp32, eval mode."""
    unet: Any = UNet2DConditionModel.from_pretrained(pipeline / "unet")
    check_values(unet.state_dict(), f"The weights in {pipeline / 'unet'}")
    return unet.float().eval().requires_grad_(False).to(device)


def load_tokenizer(pipeline: Path) -> Any:
    """The CLIP-style tokenizer of 32 places."""
    return CLIPTokenizer.from_pretrained(pipeline / "tokenizer")


def load_text(pipeline: Path, device: str = "cpu") -> Callable[[Sequence[str]], Tensor]:
    """texts -> hidden states (N, 32, 128), as SD's text tower gives them to the U-Net; the last 64 answers are kept."""
    words = load_tokenizer(pipeline)
    tower = (
        CLIPTextModel.from_pretrained(pipeline / "text_encoder", dtype=torch.float32)
        .eval()
        .requires_grad_(False)
        .to(device)
    )
    check_values(tower.state_dict(), f"The weights in {pipeline / 'text_encoder'}")

    @lru_cache(maxsize=64)  # the shards of a suite come again for every model
    @torch.no_grad()
    def encode(texts: tuple[str, ...]) -> Tensor:
        ids = words(
            list(texts), padding="max_length", max_length=words.model_max_length, truncation=True, return_tensors="pt"
        )
        return tower(ids.input_ids.to(device))[0]

    return lambda texts: encode(tuple(texts))


def unet_config(pipeline: Path) -> NetworkConfig:
    """The base U-Net's configuration."""
    return json.loads((pipeline / "unet" / "config.json").read_text())
