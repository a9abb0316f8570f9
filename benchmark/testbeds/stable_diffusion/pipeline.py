"""A pipeline's networks from its folder in diffusers' layout: text tower, VAE, U-Net. All fp32, for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from benchmark.errors import DataError
from benchmark.json_types import NetworkConfig
from benchmark.store.listing import visible
from benchmark.testbeds.stable_diffusion.definition import DECODED
from benchmark.testbeds.stable_diffusion.model_settings import factor, read_config
from methods.sampling import check_finite, extra_inputs, inputs
from methods.training.adaptive_batch import AdaptiveBatch
from metrics.networks.weights import check_is_itself, check_values


class Pipeline:
    """Loads each network when it is first asked for. DataError for a folder that holds something else."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device = folder, device
        self._decoding, self._encoding = AdaptiveBatch("decoding", DECODED), AdaptiveBatch("encoding", DECODED)
        self.scheduler = read_config(folder, "scheduler/scheduler_config.json")
        self.unet_config, vae = read_config(folder, "unet/config.json"), read_config(folder, "vae/config.json")
        self.factor = factor(vae)
        """Pixels a latent, in each direction."""
        self.latent_channels = int(vae["latent_channels"])
        self.kind = str(self.unet_config.get("_class_name", "UNet2DConditionModel"))
        if self.kind != "UNet2DConditionModel" or self.unet_config.get("in_channels") != self.latent_channels:
            raise DataError(
                f"{folder} is not a text-to-image model of the Stable Diffusion family: its {self.kind} reads "
                f"{self.unet_config.get('in_channels')} channels where the VAE makes {self.latent_channels}."
            )
        _check_conditioning(folder, self.unet_config, self.latent_channels)

    def unet(self) -> UNet2DConditionModel:
        """A fresh copy of the U-Net, on the CPU."""
        return self._load(UNet2DConditionModel, "unet")

    @cached_property
    def vae(self) -> Any:
        return self._load(AutoencoderKL, "vae").to(self.device)

    @cached_property
    def tokenizer(self) -> Any:
        folder = self.folder / "tokenizer"
        try:
            return CLIPTokenizer.from_pretrained(folder)
        except Exception as error:  # tokenizers raises nothing narrower, for merges that do not fit the vocabulary, say
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"The tokenizer in {folder} cannot be read ({first}): download the model again.") from error

    @cached_property
    def text_length(self) -> int:
        return int(self.tokenizer.model_max_length)

    @cached_property
    def _tower(self) -> Any:
        return self._load(CLIPTextModel, "text_encoder", dtype=torch.float32).to(self.device)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Hidden states (N, L, D) of texts; what is longer than L tokens is cut."""
        length = self.text_length
        ids = self.tokenizer(list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return self._tower(ids.input_ids.to(self.device))[0]

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (N, C, h, w) -> pictures uint8 (N, 3, H, W), on the CPU."""

        def decode_rows(rows: slice) -> Tensor:
            scaled = latents[rows].to(self.vae.dtype) / self.vae.config.scaling_factor
            pictures = check_finite(self.vae.decode(scaled, return_dict=False)[0], "The VAE decodes pictures")
            return ((pictures / 2 + 0.5).clamp(0, 1) * 255).round().to("cpu", torch.uint8)

        return self._decoding(decode_rows, len(latents))

    @torch.no_grad()
    def moments(self, pictures: Tensor) -> Tensor:
        """Pictures uint8 (N, 3, H, W) -> mean and deviation of their latents, (N, 2C, h, w) float32, not scaled."""

        def encode_rows(rows: slice) -> Tensor:
            latents = self.vae.encode(pictures[rows].to(self.device, self.vae.dtype) / 127.5 - 1).latent_dist
            return torch.cat([latents.mean, latents.std], 1).float().cpu()

        return self._encoding(encode_rows, len(pictures))

    def _load(self, kind: Any, part: str, **options: Any) -> Any:
        folder = self.folder / part
        for file in visible(folder, "*.safetensors"):
            check_is_itself(file)
        try:
            network, loading = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **options)
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            first = (str(error).splitlines() or [""])[0]
            raise DataError(f"The weights in {folder} cannot be loaded ({first}): download them again.") from error
        unexpected = () if kind is CLIPTextModel else loading["unexpected_keys"]  # towers are cut out of whole CLIPs
        if odd_keys := [*loading["missing_keys"], *unexpected]:  # diffusers would go on with random ones
            raise DataError(
                f"The weights in {folder} do not fit their config.json ('{odd_keys[0]}'): download them again."
            )
        check_values(network.state_dict(), f"The weights in {folder}")
        return network.float().eval().requires_grad_(False)


def _check_conditioning(folder: Path, unet: NetworkConfig, latent_channels: int) -> None:
    """DataError for a U-Net with other inputs than latents, time and text, or with outputs of another shape than the
    VAE's latents."""
    if extra := extra_inputs(unet):
        field, value = next(iter(extra.items()))
        raise DataError(
            f"{folder} is not a text-to-image model of the Stable Diffusion family: its U-Net has {field} {value}, and "
            "is given nothing beside noise, time and text here."
        )
    fields, width = inputs(unet), read_config(folder, "text_encoder/config.json").get("hidden_size", 512)
    for field, value, needed in (("out_channels", fields["out_channels"], latent_channels),
                               ("cross_attention_dim", fields["cross_attention_dim"], width)):  # fmt: skip
        if value != needed:
            raise DataError(f"{folder} does not fit together: its U-Net has {field} {value} where {needed} are needed.")
