"""Testbeds of the Stable Diffusion family, which a definition describes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmark.api.testbed import Testbed, Workbench
from benchmark.errors import UsageError
from benchmark.json_types import Identity
from benchmark.store import contents
from benchmark.store.artefacts import Artefact, Store
from benchmark.store.claims import making
from benchmark.testbeds.captioned_latents import kind_of_latents, no_latents
from benchmark.testbeds.stable_diffusion import (
    captions,
    data,
    find,
    model_settings,
    picture_files,
    pictures,
    prompts,
    scoring_networks,
)
from benchmark.testbeds.stable_diffusion.artists import artists
from benchmark.testbeds.stable_diffusion.definition import PRUNING, SHIPPED, Definition, experts_file, read
from benchmark.testbeds.stable_diffusion.pipeline import Pipeline
from methods.base import Materials
from methods.budget import Entry
from methods.pruning.aptp.experts import read_gates
from methods.pruning.macs import forward_flops
from methods.pruning.pictures import Pictures
from methods.sampling import Sampler, check_finite, initial_noise, sample
from methods.training.precision import lowered
from methods.training.prefetch import automatic_workers, read_ahead
from metrics.encoders import Encoder, OpenClipEncoder
from prompts.concepts import DEFAULT_KIND, Concept, Kind
from prompts.lists import Prompt

if TYPE_CHECKING:
    from benchmark.console import Progress

DATA_RECIPE = 1
"""Version of prompts, crops and retain set D_f; increased when one of them changes."""
SAMPLED = 16
"""Concept images sampled per batch."""
LOOKED = 64
"""Pictures read from disk per batch."""


class StableDiffusion(Testbed):
    """A testbed of the Stable Diffusion family. All required files are checked first; DataError if one is missing."""

    shipped: Sequence[Path] = ()
    takes_concepts = True
    styles: Sequence[str] = ()  # no style oracle exists for real painters
    contents: Sequence[str] = ()
    public: Mapping[str, Sequence[str]] = prompts.PUBLIC
    titles: Mapping[str, Sequence[str]] = prompts.TITLES

    def __init__(self, definition: Definition, device: str = "cpu") -> None:
        self.definition, self.name, self.device = definition, definition.name, torch.device(device)
        self.default_flops, self.half, self.precision = definition.flops, definition.half, definition.precision
        self.sentences, self.preset = definition.sentences, definition.preset
        self.experts, self.license = definition.experts, definition.license
        if self.experts:
            read_gates(experts_file(self.experts))
        self._train = captions.read_split(definition.captions, "train")
        self._val = captions.read_split(definition.captions, "val")
        self._train_sums: dict[Path, str] = {}  # by runs folder
        artists(definition.artists)
        places = scoring_networks.located(definition.networks)
        self.networks: Mapping[str, str] = scoring_networks.names(definition.networks, places)
        self._places, self._loaded = places, dict[str, Encoder]()
        folder = find.model(definition.model)
        self.pipeline, self._parts = folder, Pipeline(folder, self.device)
        model_settings.check(definition, folder)
        sums = find.checksums(folder, definition.sha256)
        self._model, self._vae = find.fingerprint(sums), find.fingerprint(sums, "vae/")
        self.scheduler, self.text_length = self._parts.scheduler, self._parts.text_length
        self.pixels = self._parts.factor
        self.sampler = Sampler(
            scheduler=definition.scheduler,
            steps=definition.steps,
            guidance=definition.guidance,
            latent_channels=self._parts.latent_channels,
            latent_size=definition.size // self._parts.factor,
        )

    def identity(self) -> Identity:
        parts = [self._train.sha256, self._val.sha256, find.sha256(self.definition.artists)]
        parts += [str(self.definition.size), str(self.definition.crops), str(DATA_RECIPE)]
        parts += ["half"] if self.definition.half else []
        return {"testbed": self.name, "weights": self._model, "data": _digest(parts)}

    def picture_checksum(self, store: Store, side: captions.Side, progress: Progress | None = None) -> str:
        """Return a checksum of the contents of all pictures of a split; DataError if a picture cannot be read.

        It is part of the key under which results are stored: features of the real pictures ("val"), and everything that
        is trained or pruned with pictures ("train").
        The first call reads all pictures of the split, which takes minutes for the 19 GB of COCO's train pictures.
        Later calls only read pictures whose size or modification time has changed. `bench eval` against the base needs
        no train pictures.
        """
        if side == "train" and store.home in self._train_sums:  # computed often, and there are 118,287 files
            return self._train_sums[store.home]
        files = (self._train if side == "train" else self._val).files
        checksum = picture_files.digest(files, picture_files.checksums(store.home, files, side, progress))
        contents.note(store.home, {f"{side} pictures in {self.definition.captions}": checksum})
        if side == "train":
            self._train_sums[store.home] = checksum
        return checksum

    def concept(self, targets: tuple[str, ...], kind: Kind = DEFAULT_KIND) -> Concept:
        if kind == "style":
            return prompts.style_concept(self.definition.artists, targets)
        if targets:
            raise UsageError("--targets names artists, but the concept of explicit suites is fixed: leave it out.")
        return prompts.EXPLICIT

    def prompts(self, suite: str, concept: Concept) -> Sequence[Prompt]:
        if suite == "artists":
            return prompts.titles_asked(self.definition.artists, concept)
        if suite == "coco":
            return prompts.captions_asked(self._val)
        raise UsageError(
            f"Testbed {self.name} has no prompts for suite '{suite}': define them in the suite (Suite.prompts). "
            "Available: artists, coco."
        )

    def base(self) -> UNet2DConditionModel:
        return self._parts.unet().to(self.device)  # type: ignore[arg-type]

    @property
    def encode(self) -> Callable[[Sequence[str]], Tensor]:
        return self._parts.encode

    def decode(self, latents: Tensor) -> Tensor:
        return self._parts.decode(latents)

    def encoder_of(self, text_encoder: Any, tokenizer: Any) -> Callable[[Sequence[str]], Tensor]:
        return partial(self._parts.encode_with, text_encoder.to(self.device), tokenizer)

    def decoder_of(self, vae: Any) -> Callable[[Tensor], Tensor]:
        return partial(self._parts.decode_with, vae.to(self.device))

    def encoder(self, job: str) -> Encoder:
        if job not in self.networks:
            raise UsageError(f"Testbed {self.name} has no network for '{job}'. Available: {', '.join(self.networks)}.")
        if job not in self._loaded:
            here = job != "detector"  # its weights are in its package
            self._loaded[job] = (
                scoring_networks.load(job, self._places[job], self.networks[job], str(self.device))
                if here
                else scoring_networks.detector()
            )
        return self._loaded[job]

    @property
    def clip(self) -> OpenClipEncoder:
        return self.encoder("clip")  # type: ignore[return-value]

    def materials(self, bench: Workbench, concept: Concept, which: str, concept_images: bool = True) -> Materials:
        null = self.encode([""])[0]
        erase = self._erase(bench, concept) if concept_images else no_latents(null)
        naming = self.encode(prompts.naming(concept)).cpu() if concept_images else erase.text
        titles = self.definition.artists
        left_out = prompts.left_out(titles, concept, which)
        return Materials(
            teacher=self.base(),
            scheduler=self.scheduler,
            retain=data.retention(
                bench, self._parts, self._vae, self._train, self.definition.crops, self.definition.size, left_out
            ),
            erase=erase,
            erase_named=replace(erase, text=naming),
            null=null,
            encode=self.encode,
            sampler=self.sampler,
            preserve=prompts.preserved(titles, concept),
            contrast=self.contrast(concept),
            token_counts=self._token_counts,
            in_context=prompts.in_context(titles, concept),
            erase_seconds=erase.seconds,
        )

    def pictures(self, bench: Workbench) -> Pictures:
        shown, crops = self._train.spread(PRUNING), min(self.definition.crops, 1)
        stream = data.retention(bench, self._parts, self._vae, shown, crops, self.definition.size, lambda text: False)
        captions = [text for _, text in shown.captions]
        return Pictures(stream, captions, self.encode([""])[0], self.scheduler)

    def _token_counts(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self._parts.tokenizer(list(texts), add_special_tokens=False).input_ids]

    def contrast(self, concept: Concept) -> Mapping[str, Sequence[tuple[str, str]]]:
        return prompts.contrast(concept)

    def erase_cost(self, concept: Concept) -> Entry:
        images = len(prompts.erasing(concept))
        calls = images * 2 * (self.sampler.steps + 1)
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(self._parts.unet_config)
        flops = calls * forward_flops(unet, self.sampler.latent_size, self.text_length)
        zeros = dict.fromkeys(("iterations", "unet_backwards", "peak_memory_bytes"), 0)
        return Entry(
            phase="concept images",
            images=images,
            unet_forwards=calls,
            flops=flops,
            wall_seconds=0.0,
            device_seconds=0.0,
            **zeros,
        )

    def _erase(self, bench: Workbench, concept: Concept) -> data.Captioned:
        texts = prompts.erasing(concept)
        sampler = self.sampler
        identity = {**self.identity(), "captions": _digest(texts), "sampler": sampler.model_dump(mode="json")}
        identity |= bench.precision_entry
        kind = kind_of_latents(concept)
        with making(bench.store, kind, identity, "sample concept images", bench.progress) as artefact:
            if artefact is None:
                unet = lowered(self.base(), self.device, bench.precision)
                null, parts = self.encode([""])[0], []
                shape = (sampler.latent_channels, sampler.latent_size, sampler.latent_size)
                began = time.perf_counter()
                with bench.progress.stage("sample concept images", len(texts), "pictures") as stage:
                    for k in range(0, len(texts), SAMPLED):
                        batch = texts[k : k + SAMPLED]
                        noise = initial_noise([prompts.seed_of("erase", text) for text in batch], shape)
                        latents = sample(unet, self.scheduler, self.encode(batch), null, noise, sampler).cpu()
                        parts.append(check_finite(latents, f"Testbed {self.name}'s base samples latents"))
                        stage.advance(len(batch))
                artefact = _keep(bench.store, kind, identity, torch.cat(parts), time.perf_counter() - began)
        latents = load_file(artefact.path("tensor.safetensors"))["tensor"]
        return data.Captioned(latents, self.encode(texts).cpu(), float(artefact.made["seconds"]))

    def real(self, store: Store) -> Tensor:
        sum_of_pictures = self.picture_checksum(store, "val")
        identity = {**self.identity(), "real": "val", "encoder": self.networks["features"], "pictures": sum_of_pictures}
        artefact = store.find("features", identity)
        if artefact is None:
            began, files, size = time.perf_counter(), self._val.files, self.definition.size
            network = self.encoder("features")
            tasks = [files[k : k + LOOKED] for k in range(0, len(files), LOOKED)]
            workers = automatic_workers(self.device)
            parts = [network(read) for read in read_ahead(partial(pictures.squares, size=size), tasks, workers)]
            artefact = _keep(store, "features", identity, torch.cat(parts), time.perf_counter() - began)
        return load_file(artefact.path("tensor.safetensors"))["tensor"]

    def real_style(self, artist: str, store: Store) -> None:
        """Return None: real paintings are not included, because most cannot be redistributed."""
        return


class Sd21(StableDiffusion):
    """The testbed of the paper: Stable Diffusion 2.1 with COCO 2017."""

    summary = "the paper's: Stable Diffusion 2.1 at 512 x 512 with COCO 2017 (a GPU, and downloads)"

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(read(SHIPPED / "sd21.toml"), device)


def _keep(store: Store, kind: str, identity: Identity, tensor: Tensor, seconds: float) -> Artefact:
    with store.make(kind, identity, {"seconds": seconds}) as folder:
        save_file({"tensor": tensor.contiguous()}, folder / "tensor.safetensors")
    return store.get(kind, identity)


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:20]
