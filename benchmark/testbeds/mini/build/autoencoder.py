"""Trains the VAE: AutoencoderKL, 64x64x3 to 16x16x4; latents are scaled to standard deviation 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Generator, Tensor

from benchmark.parallel import side_by_side
from benchmark.testbeds.mini.build.loop import Job, pixels, train

BATCH = 16
LATENT = (4, 16, 16)
"""Shape of a latent."""
DRAWN = 256
"""Pictures whose noise `encode` draws together; a different number would change the noise."""
CPU = torch.device("cpu")


def build(images: Tensor, job: Job) -> AutoencoderKL:
    """Train the VAE on pictures (N, 3, 64, 64) uint8 and return it."""
    torch.manual_seed(job.seed)
    vae = AutoencoderKL(
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
    )

    def loss(step: int, g: Generator) -> Tensor:
        picture = pixels(images[torch.randint(len(images), (BATCH,), generator=g)]).to(job.device)
        moments = vae.quant_conv(vae.encoder(picture)).float()
        mean, logvar = moments.chunk(2, dim=1)
        logvar = logvar.clamp(-20, 10)
        noise = torch.randn(mean.shape, generator=g).to(job.device)
        out = vae.decoder(vae.post_quant_conv(mean + noise * torch.exp(0.5 * logvar))).float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return likeness(out, picture) + 2e-4 * kl

    train("vae", vae, loss, job, rate=2e-3, average=0.995)
    with torch.no_grad():
        sample = torch.cat([vae.encode(pixels(part)).latent_dist.mean for part in images[:1024].split(128)])
    vae.register_to_config(scaling_factor=round(1 / sample.std().item(), 4))
    return vae


def likeness(out: Tensor, picture: Tensor) -> Tensor:
    """Return the reconstruction loss: L1 and L2 of pixels, and L1 of horizontal and vertical differences for edges."""
    error = out - picture
    sharp = error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()
    return error.abs().mean() + F.mse_loss(out, picture) + 0.5 * sharp


def refine(vae: AutoencoderKL, images: Tensor, job: Job) -> AutoencoderKL:
    """Continue to train the decoder with the encoder fixed, so that existing latents and the U-Net remain valid."""
    whole: Any = vae
    narrow = whole.to(job.device).post_quant_conv
    decoder = torch.nn.ModuleList([vae.decoder, narrow]).requires_grad_(True)

    def loss(step: int, g: Generator) -> Tensor:
        picture = pixels(images[torch.randint(len(images), (BATCH,), generator=g)]).to(job.device)
        with torch.no_grad():
            dist = vae.encode(picture).latent_dist
        noise = torch.randn(dist.mean.shape, generator=g).to(job.device)
        latents = dist.mean.float() + dist.std.float() * noise
        return likeness(vae.decoder(narrow(latents)).float(), picture)

    train("decoder", decoder, loss, job, rate=1e-3, average=0.998)
    return whole.cpu()


@torch.no_grad()
def encode(vae: Any, images: Tensor, seed: int, advance: Callable[[int], None] = lambda count: None) -> Tensor:
    """Return scaled latents (N, 4, 16, 16), a posterior sample for each picture.

    Batches of 32, whose feature maps fit in the cache of a core, are encoded side by side, one per core. `advance` is
    called after each batch with its number of pictures.
    """
    g = torch.Generator().manual_seed(seed)
    noise = [torch.randn((len(part), *LATENT), generator=g) for part in images.split(DRAWN)]

    def sampled(part: tuple[Tensor, Tensor]) -> Tensor:
        with torch.no_grad():
            dist = vae.encode(pixels(part[0])).latent_dist
            return dist.mean + dist.std * part[1]

    parts = []
    for latents in side_by_side(sampled, list(zip(images.split(32), torch.cat(noise).split(32), strict=True)), CPU):
        parts.append(latents)
        advance(len(latents))
    return torch.cat(parts) * vae.config.scaling_factor


@torch.no_grad()
def repaint(vae: Any, latents: Tensor, seed: int) -> Tensor:
    """Decode latents (N, 4, 16, 16) with added noise to pictures (N, 3, 64, 64) uint8.

    The standard deviation of the noise is random for each picture, from 0 to 0.5 times that of the latents.
    """
    g, parts = torch.Generator().manual_seed(seed), []
    for part in latents.split(256):
        noise = 0.5 * torch.rand(len(part), 1, 1, 1, generator=g) * torch.randn(part.shape, generator=g)
        decoded = vae.decode((part + noise) / vae.config.scaling_factor, return_dict=False)[0]
        parts.append(((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8))
    return torch.cat(parts)
