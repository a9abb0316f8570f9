"""Testbed `sd21-rehearsal`. Its time and memory are those of SD 2.1; its pictures are noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from benchmark.api.testbed import Testbed, Workbench
from benchmark.errors import UsageError
from benchmark.json_types import Identity
from benchmark.store.artefacts import Store
from benchmark.testbeds.rehearsal import networks
from benchmark.testbeds.stable_diffusion import architecture, prompts
from benchmark.testbeds.stable_diffusion.definition import PAINTERS
from benchmark.testbeds.stable_diffusion.pipeline import DECODED
from methods.base import Materials
from methods.budget import Entry
from methods.sampling import Sampler, make_scheduler
from metrics.encoders import Encoder, OpenClipEncoder
from prompts.concepts import DEFAULT_KIND, Concept, Kind
from prompts.lists import Prompt

ROOM = 40e9
"""Bytes that fp32 training with one picture needs, with a margin; devices with less memory use bf16 weights."""
LENGTH, WIDTH = 77, 1024
ROWS = 64
"""Number of captioned pictures."""


@dataclass(frozen=True)
class Synthetic:
    """Data set of random latents with random text states, which are made when a batch is read."""

    size: int
    dtype: torch.dtype

    def __len__(self) -> int:
        return ROWS

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        source = torch.Generator().manual_seed(int(indices.sum()))
        count = len(indices)
        latents = torch.randn(count, 4, self.size, self.size, generator=source)
        return latents, torch.randn(count, LENGTH, WIDTH, generator=source).to(self.dtype)


class Rehearsal(Testbed):
    """SD 2.1's architecture with random weights, captions and pictures. Networks are made at first use."""

    summary = "Stable Diffusion 2.1's shapes with random weights, for `bench rehearse` and `bench speed`"
    name = "sd21-rehearsal"
    default_flops = 1e16
    half = False
    sentences = "text tower"
    shipped: Sequence[Path] = ()
    styles: Sequence[str] = ()
    contents: Sequence[str] = ()
    pipeline = Path("none")  # nothing lies on a disk
    networks: Mapping[str, str] = {job: f"random-{job}" for job in ("clip", "style", "features", "detector")}
    scheduler = architecture.SCHEDULER
    text_length = LENGTH

    def __init__(self, device: str = "cpu", latent_size: int = 64, exact: bool = False) -> None:
        """Create the testbed; with `exact`, weights are in fp32 on small devices too, as in a run.

        Raises:
            UsageError: `latent_size` is not a multiple of 8.
        """
        if latent_size < 8 or latent_size % 8:
            raise UsageError(f"--latent-size must be a multiple of 8; {latent_size} is not.")
        self.device = torch.device(device)
        self.dtype = torch.float32 if exact or memory_of(self.device) > ROOM else torch.bfloat16
        self.sampler = Sampler(steps=25, guidance=7.5, latent_size=latent_size)
        self._loaded: dict[str, Encoder] = {}

    def identity(self) -> Identity:
        return {"testbed": self.name, "size": self.sampler.latent_size, "dtype": str(self.dtype)}

    def concept(self, targets: tuple[str, ...], kind: Kind = DEFAULT_KIND) -> Concept:
        return prompts.style_concept(PAINTERS, targets) if kind == "style" else prompts.EXPLICIT

    def prompts(self, suite: str, concept: Concept) -> Sequence[Prompt]:
        return prompts.titles_asked(PAINTERS, concept)

    def base(self) -> UNet2DConditionModel:
        return networks.unet(self.device, self.dtype)

    def assembled(self) -> StableDiffusionPipeline:
        """Return the base as a diffusers pipeline with new networks, because there is no folder to load it from."""
        words: Any = networks.Words()
        return StableDiffusionPipeline(
            vae=networks.vae(self.device, self.dtype),
            text_encoder=networks.tower(self.device, self.dtype),
            tokenizer=words,
            unet=self.base(),
            scheduler=make_scheduler(self.scheduler, self.sampler),
            safety_checker=None,  # type: ignore[arg-type]
            feature_extractor=None,  # type: ignore[arg-type]
            requires_safety_checker=False,
        )

    @cached_property
    def _vae(self) -> Any:
        return networks.vae(self.device, self.dtype)

    @cached_property
    def _tower(self) -> Any:
        return networks.tower(self.device, self.dtype)

    @property
    def encode(self) -> Callable[[Sequence[str]], Tensor]:
        return self._encode

    @torch.no_grad()
    def _encode(self, texts: Sequence[str]) -> Tensor:
        return self._tower(networks.Words()(texts).input_ids.to(self.device))[0]

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        parts = []
        for part in latents.split(DECODED):
            pictures = self._vae.decode(part.to(self.device, self.dtype) / 0.18215, return_dict=False)[0]
            parts.append(((pictures / 2 + 0.5).clamp(0, 1).nan_to_num() * 255).round().to("cpu", torch.uint8))
        return torch.cat(parts)

    def encoder(self, job: str) -> Encoder:
        if job not in self._loaded:
            self._loaded[job] = networks.encoder(job, self.device)
        return self._loaded[job]

    @property
    def clip(self) -> OpenClipEncoder:
        return self.encoder("clip")  # type: ignore[return-value]

    def materials(self, bench: Workbench, concept: Concept, which: str, concept_images: bool = True) -> Materials:
        data = Synthetic(self.sampler.latent_size, self.dtype)
        return Materials(
            teacher=self.base(),
            scheduler=self.scheduler,
            retain=data,
            erase=data,
            erase_named=data,
            null=self.encode([""])[0],
            encode=self.encode,
            sampler=self.sampler,
            preserve=("Edvard Munch",),
            contrast=prompts.contrast(concept),
            token_counts=lambda texts: [len(text.split()) for text in texts],
            in_context=prompts.in_context(PAINTERS, concept),
        )

    def pictures(self, bench: Workbench) -> Any:
        raise UsageError(
            "Testbed sd21-rehearsal has no pictures to prune by: use --pruning magnitude, blocks or random."
        )

    def erase_cost(self, concept: Concept) -> Entry:
        """Return zero cost: the concept images are random."""
        zeros = dict.fromkeys(("iterations", "images", "unet_forwards", "unet_backwards", "flops"), 0)
        return Entry(phase="concept images", wall_seconds=0.0, device_seconds=0.0, peak_memory_bytes=0, **zeros)

    def real(self, store: Store) -> Tensor:
        return torch.randn(4096, 2048, generator=torch.Generator().manual_seed(0))

    def real_style(self, artist: str, store: Store) -> None:
        return


def memory_of(device: torch.device) -> float:
    """Return the total memory of the device in bytes."""
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    from benchmark.hardware import cpu

    return 1e9 * cpu().memory
