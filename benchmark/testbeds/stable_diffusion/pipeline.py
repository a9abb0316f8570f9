"""Loads a pipeline's networks from a folder in diffusers' layout, in fp32 and eval mode: text encoder, VAE, U-Net."""

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
from metrics.networks.untrusted import check_part
from metrics.networks.weights import check_is_itself, check_values


class Pipeline:
    """A pipeline whose networks are loaded at first use.

    Raises:
        DataError: if the folder does not hold a text-to-image pipeline of the Stable Diffusion family.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device = folder, device
        self._decoding, self._encoding = AdaptiveBatch("decoding", DECODED), AdaptiveBatch("encoding", DECODED)
        self.scheduler = read_config(folder, "scheduler/scheduler_config.json")
        self.unet_config, vae = read_config(folder, "unet/config.json"), read_config(folder, "vae/config.json")
        self.factor = factor(vae)
        """Pixels per latent in each direction."""
        self.latent_channels = int(vae["latent_channels"])
        self.kind = str(self.unet_config.get("_class_name", "UNet2DConditionModel"))
        if self.kind != "UNet2DConditionModel" or self.unet_config.get("in_channels") != self.latent_channels:
            raise DataError(
                f"{folder} is not a text-to-image model of the Stable Diffusion family: its {self.kind} has "
                f"{self.unet_config.get('in_channels')} input channels, but its VAE has {self.latent_channels} latent "
                "channels."
            )
        _check_conditioning(folder, self.unet_config, self.latent_channels)

    def unet(self) -> UNet2DConditionModel:
        """Load a new copy of the U-Net, on the CPU."""
        return self._load(UNet2DConditionModel, "unet")

    @cached_property
    def vae(self) -> Any:
        return self._load(AutoencoderKL, "vae").to(self.device)

    @cached_property
    def tokenizer(self) -> Any:
        folder = self.folder / "tokenizer"
        try:
            return CLIPTokenizer.from_pretrained(folder)
        except Exception as error:  # tokenizers raises bare Exception, e.g. for merges that do not fit the vocabulary
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"The tokenizer in {folder} cannot be read ({first}): download the model again.") from error

    @cached_property
    def text_length(self) -> int:
        return int(self.tokenizer.model_max_length)

    @cached_property
    def _tower(self) -> Any:
        return self._load(CLIPTextModel, "text_encoder", dtype=torch.float32).to(self.device)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the hidden states (N, L, D) of texts. Texts longer than L tokens are truncated."""
        return self.encode_with(self._tower, self.tokenizer, texts)

    @torch.no_grad()
    def encode_with(self, tower: Any, tokenizer: Any, texts: Sequence[str]) -> Tensor:
        """Return the hidden states (N, L, D) of texts, computed with this text encoder and tokenizer."""
        length = int(tokenizer.model_max_length)
        ids = tokenizer(list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return tower(ids.input_ids.to(self.device))[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Decode scaled latents (N, C, h, w) to pictures uint8 (N, 3, H, W) on the CPU."""
        return self.decode_with(self.vae, latents)

    @torch.no_grad()
    def decode_with(self, vae: Any, latents: Tensor) -> Tensor:
        """Decode latents (N, C, h, w), scaled as this VAE expects, to pictures uint8 (N, 3, H, W) on the CPU."""

        def decode_rows(rows: slice) -> Tensor:
            scaled = latents[rows].to(vae.dtype) / vae.config.scaling_factor
            pictures = check_finite(vae.decode(scaled, return_dict=False)[0], "The VAE decodes pictures")
            return ((pictures / 2 + 0.5).clamp(0, 1) * 255).round().to("cpu", torch.uint8)

        return self._decoding(decode_rows, len(latents))

    @torch.no_grad()
    def moments(self, pictures: Tensor) -> Tensor:
        """Encode pictures uint8 (N, 3, H, W) to mean and standard deviation of their unscaled latents.

        Returns float32 (N, 2C, h, w): the C means, then the C standard deviations.
        """

        def encode_rows(rows: slice) -> Tensor:
            latents = self.vae.encode(pictures[rows].to(self.device, self.vae.dtype) / 127.5 - 1).latent_dist
            return torch.cat([latents.mean, latents.std], 1).float().cpu()

        return self._encoding(encode_rows, len(pictures))

    def _load(self, kind: Any, part: str, **options: Any) -> Any:
        folder = self.folder / part
        check_part(folder)
        for file in visible(folder, "*.safetensors"):
            check_is_itself(file)
        try:
            network, loading = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **options)
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            first = (str(error).splitlines() or [""])[0]
            raise DataError(f"The weights in {folder} cannot be loaded ({first}): download them again.") from error
        # A file of a whole CLIP also holds the image tower, so unexpected keys are allowed in a text encoder.
        unexpected = () if kind is CLIPTextModel else loading["unexpected_keys"]
        if odd_keys := [*loading["missing_keys"], *unexpected]:  # diffusers would fill missing weights with random ones
            raise DataError(
                f"The weights in {folder} do not fit their config.json ('{odd_keys[0]}'): download them again."
            )
        check_values(network.state_dict(), f"The weights in {folder}")
        return network.float().eval().requires_grad_(False)


def _check_conditioning(folder: Path, unet: NetworkConfig, latent_channels: int) -> None:
    """Raise DataError for a U-Net with inputs besides latents, time and text, or with sizes that do not fit the VAE's
    latents and the text encoder's hidden states."""
    if extra := extra_inputs(unet):
        field, value = next(iter(extra.items()))
        raise DataError(
            f"{folder} is not a text-to-image model of the Stable Diffusion family: its U-Net has {field} {value}, but "
            "this benchmark gives a U-Net only noise, time and text."
        )
    fields, width = inputs(unet), read_config(folder, "text_encoder/config.json").get("hidden_size", 512)
    for field, value, needed in (("out_channels", fields["out_channels"], latent_channels),
                               ("cross_attention_dim", fields["cross_attention_dim"], width)):  # fmt: skip
        if value != needed:
            raise DataError(
                f"The parts of {folder} do not fit together: its U-Net has {field} {value}; {needed} is needed."
            )
