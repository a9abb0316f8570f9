"""Testbed `mini`: a procedural picture generator, a pipeline trained on its pictures, prompts and scorers."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmark.api.testbed import Testbed, Workbench
from benchmark.errors import DataError, UsageError
from benchmark.json_types import Identity, JsonObject, NetworkConfig
from benchmark.store import durable
from benchmark.store.artefacts import Artefact, Store
from benchmark.store.claims import making
from benchmark.store.listing import visible
from benchmark.testbeds.captioned_latents import kind_of_latents, no_latents
from benchmark.testbeds.mini import data, explicit, load, prompts, scoring_networks, user_concept
from benchmark.testbeds.mini.artists import ARTISTS, STYLES
from benchmark.testbeds.mini.figures import FIGURE_PROMPTS
from benchmark.testbeds.mini.world.scenes import CONTENTS, Scene
from methods.base import Materials
from methods.budget import Entry
from methods.pruning.macs import forward_flops
from methods.pruning.pictures import Pictures
from methods.sampling import Sampler, check_finite, initial_noise, sample
from methods.training.precision import lowered
from metrics.encoders import Encoder, OpenClipEncoder
from prompts.concepts import DEFAULT_KIND, Concept, Kind
from prompts.lists import Prompt

Make = Callable[[], Tensor]
"""Computes a tensor, and calls its argument with the number of pictures done."""
WEIGHTS = Path(__file__).parent / "weights"
PREBUILT = Path(__file__).parent / "prebuilt"
DATA_RECIPE = 1
"""Version of prompts, retain set D_f and picture generator; increased when one of them changes."""


class Mini(Testbed):
    """A small Stable Diffusion pipeline, trained on procedurally generated pictures and shipped with the code."""

    summary = "built in: a small Stable Diffusion trained on generated pictures of 16 artists (64x64, CPU)"
    name = "mini"
    default_flops = 2.2e13
    half = True
    sentences = "text tower"
    license = "mit"
    takes_concepts = True
    pixels = 4
    figure_prompts = FIGURE_PROMPTS
    shipped: Sequence[Path] = (PREBUILT,)
    networks: Mapping[str, str] = scoring_networks.NAMES
    styles: Sequence[str] = STYLES
    contents: Sequence[str] = (*CONTENTS, "none")

    def __init__(self, weights: Path = WEIGHTS, device: str = "cpu") -> None:
        self._weights, self.pipeline, self.device = weights, weights / "pipeline", torch.device(device)
        self._manifest = check_manifest(weights)
        self.sampler = Sampler(steps=20, guidance=2.5)
        self.scheduler: NetworkConfig = json.loads((self.pipeline / "scheduler" / "scheduler_config.json").read_text())
        self.text_length = 32

    def identity(self) -> Identity:
        return {"testbed": self.name, "weights": self._manifest["fingerprint"], "data": DATA_RECIPE}

    def concept(self, targets: tuple[str, ...], kind: Kind = DEFAULT_KIND) -> Concept:
        if kind == "explicit":
            if targets:
                raise UsageError("--targets names artists, but the concept of explicit suites is fixed: leave it out.")
            return explicit.CONCEPT
        return prompts.style_concept(targets)

    def prompts(self, suite: str, concept: Concept) -> Sequence[Prompt]:
        makers: dict[str, Callable[[], Sequence[Prompt]]] = {
            "artists": lambda: prompts.artists(concept),
            "coco": prompts.retention,
            "i2p": explicit.i2p,
            "mma": lambda: explicit.attacked("mma"),
            "ring-a-bell": lambda: explicit.attacked("ring-a-bell"),
        }
        if suite not in makers:
            raise UsageError(
                f"Testbed mini has no prompts for suite '{suite}': define them in the suite (Suite.prompts). "
                f"Available: {', '.join(makers)}."
            )
        return makers[suite]()

    def base(self) -> UNet2DConditionModel:
        return load.load_unet(self.pipeline, str(self.device))

    @cached_property
    def encode(self) -> Any:
        return load.load_text(self.pipeline, str(self.device))

    def encoder_of(self, text_encoder: Any, tokenizer: Any) -> Callable[[Sequence[str]], Tensor]:
        return load.text_function(text_encoder.to(self.device), tokenizer)

    @cached_property
    def _vae(self) -> Any:
        return load.load_vae(self.pipeline, str(self.device))

    def decode(self, latents: Tensor) -> Tensor:
        return load.decode(self._vae, latents)

    def decoder_of(self, vae: Any) -> Callable[[Tensor], Tensor]:
        return partial(load.decode, vae.to(self.device))

    def encoder(self, job: str) -> Encoder:
        if job not in self.networks:
            raise UsageError(f"Testbed mini has no network for '{job}'. Available: {', '.join(self.networks)}.")
        encoders: dict[str, Callable[[], Encoder]] = {
            "clip": lambda: self.clip,
            "style": lambda: self.style,
            "features": lambda: self.features,
            "oracle": lambda: self.oracle,
            "detector": lambda: self.detector,
        }
        return encoders[job]()

    @cached_property
    def clip(self) -> OpenClipEncoder:
        return scoring_networks.clip(self._weights, self.pipeline)

    @cached_property
    def style(self) -> Encoder:
        return scoring_networks.style(self._weights)

    @cached_property
    def features(self) -> Encoder:
        return scoring_networks.features(self._weights)

    @cached_property
    def oracle(self) -> scoring_networks.OracleReader:
        return scoring_networks.oracle(self._weights)

    @cached_property
    def detector(self) -> Encoder:
        return scoring_networks.detector(self._weights)

    def materials(self, bench: Workbench, concept: Concept, which: str, concept_images: bool = True) -> Materials:
        retain, words, null = self._retain(bench, concept, which), _prompt_module(concept), self.encode([""])[0]
        erase = self._erase(bench, concept) if concept_images else no_latents(null)
        naming = self.encode(words.naming(concept)).cpu() if concept_images else erase.text
        return Materials(
            teacher=load.load_unet(self.pipeline, str(bench.device)),
            scheduler=self.scheduler,
            retain=retain,
            erase=erase,
            erase_named=replace(erase, text=naming),
            null=null,
            encode=self.encode,
            sampler=self.sampler,
            preserve=_preserved(concept),
            contrast=self.contrast(concept),
            token_counts=self._token_counts,
            in_context=_prompt_module(concept).in_context(concept),
            erase_seconds=erase.seconds,
        )

    @cached_property
    def tokenizer(self) -> Any:
        return load.load_tokenizer(self.pipeline)

    def _token_counts(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False).input_ids]

    def contrast(self, concept: Concept) -> Mapping[str, Sequence[tuple[str, str]]]:
        return _prompt_module(concept).contrast(concept)

    def erase_cost(self, concept: Concept) -> Entry:
        images = len(_prompt_module(concept).erasing(concept))
        calls = images * 2 * (self.sampler.steps + 1)
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(load.unet_config(self.pipeline))
        return Entry(
            phase="concept images",
            iterations=0,
            images=images,
            unet_forwards=calls,
            unet_backwards=0,
            flops=calls * forward_flops(unet, self.sampler.latent_size, self.text_length),
            wall_seconds=0.0,
            device_seconds=0.0,
            peak_memory_bytes=0,
        )

    def pictures(self, bench: Workbench) -> Pictures:
        scenes, captions = data.pruning_set()
        identity = {**self.identity(), "set": "pruning", "captions": _digest(captions)}

        def make() -> Tensor:
            return self._drawn(bench, "pictures for pruning", scenes, "pruning")

        kept = self._captioned(bench, identity, captions, "draw pictures for pruning", make)
        return Pictures(kept, captions, self.encode([""])[0], self.scheduler)

    def _retain(self, bench: Workbench, concept: Concept, which: str) -> data.Captioned:
        scenes, captions = data.retention_set(concept, which)
        identity = {**self.identity(), "set": "D_f", "data": which, "captions": _digest(captions)}

        def make() -> Tensor:
            return self._drawn(bench, "training pictures", scenes, "D_f", which)

        return self._captioned(bench, identity, captions, "draw training pictures", make)

    def _drawn(self, bench: Workbench, what: str, scenes: list[Scene], *seed: object) -> Tensor:
        """Draw pictures and return their latents (N, 4, 16, 16). `what` names the pictures in progress lines."""
        from benchmark.testbeds.mini.build.autoencoder import encode

        with bench.progress.stage(f"draw {what}", len(scenes), "pictures") as stage:
            images = data.draw_all(scenes, *seed, advance=stage.advance)
        with bench.progress.stage(f"encode {what}", len(scenes), "pictures") as stage:
            return encode(load.load_vae(self.pipeline), images, seed=0, advance=stage.advance)

    def _erase(self, bench: Workbench, concept: Concept) -> data.Captioned:
        captions = _prompt_module(concept).erasing(concept)
        sampler = self.sampler.model_dump()
        identity = {**self.identity(), "set": "concept images", "captions": _digest(captions), "sampler": sampler}

        def make() -> Tensor:
            with bench.progress.stage("sample concept images", len(captions), "pictures") as stage:
                return sampled(stage.advance)

        def sampled(advance: Callable[[int], None]) -> Tensor:
            unet, null = lowered(self.base(), self.device, bench.precision), self.encode([""])[0]
            shape = (self.sampler.latent_channels, self.sampler.latent_size, self.sampler.latent_size)
            parts = []
            for k in range(0, len(captions), 32):
                texts = captions[k : k + 32]
                noise = initial_noise([prompts.seed_of("erase", text) for text in texts], shape)
                made = sample(unet, self.scheduler, self.encode(texts), null, noise, self.sampler).cpu()
                parts.append(check_finite(made, "mini's base samples latents"))
                advance(len(texts))
            return torch.cat(parts)

        kind = kind_of_latents(concept)
        return self._captioned(bench, identity | bench.precision_entry, captions, "sample concept images", make, kind)

    def _captioned(
        self,
        bench: Workbench,
        identity: Identity,
        captions: list[str],
        what: str,
        make: Make,
        kind: str = "latents",
    ) -> data.Captioned:
        with making(bench.store, kind, identity, what, bench.progress) as artefact:
            if artefact is None:
                artefact = _keep(bench.store, kind, identity, make)
        latents = load_file(artefact.path("tensor.safetensors"))["tensor"]
        return data.Captioned(latents, self.encode(captions).cpu(), float(artefact.made.get("seconds", 0.0)))

    def real(self, store: Store) -> Tensor:
        identity = {**self.identity(), "real": "plain", "encoder": self.networks["features"]}
        artefact = _keep(store, "features", identity, lambda: self.features(data.real_pictures()))
        return load_file(artefact.path("tensor.safetensors"))["tensor"].float()

    def real_style(self, artist: str, store: Store) -> Tensor:
        identity = {**self.identity(), "real": artist, "encoder": self.networks["style"]}
        artefact = _keep(store, "features", identity, lambda: self.style(data.real_of(artist)))
        return load_file(artefact.path("tensor.safetensors"))["tensor"].float()


def _prompt_module(concept: Concept) -> Any:
    """Return the module with the captions of this kind of concept."""
    if concept.is_brought:
        return user_concept
    return explicit if concept.kind == "explicit" else prompts


def _preserved(concept: Concept) -> list[str]:
    """Return the names of kept concepts for `Materials.preserve`; for a concept that a suite brings, its neighbours."""
    if concept.is_brought:
        return list(concept.neighbours)
    kept = [artist.name for artist in ARTISTS if artist.name not in concept.targets]
    return kept if concept.kind == "style" else [*kept, *CONTENTS]


def _keep(store: Store, kind: str, identity: Identity, make: Callable[[], Tensor]) -> Artefact:
    made: JsonObject = {}

    def fill(folder: Path) -> None:
        began = time.perf_counter()
        tensor = make()
        made["seconds"] = time.perf_counter() - began
        save_file({"tensor": tensor.contiguous()}, folder / "tensor.safetensors")

    return store.get_or_make(kind, identity, fill, made)


def _digest(texts: list[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:20]


def check_manifest(weights: Path) -> JsonObject:
    """Read weights/manifest.json and check the checksum of every file; DataError names the first that differs."""
    path = weights / "manifest.json"
    rebuild = f"run `bench testbed build mini --out {weights}`"
    remedy = f"restore it with `git checkout`, or remove {weights} and {rebuild}"
    if not path.exists():
        raise DataError(
            f"mini's weights are missing or incomplete ({path} does not exist): restore it with `git checkout`, or "
            f"{rebuild}, which resumes an interrupted build."
        )
    try:
        manifest = json.loads(path.read_text())
        files, _ = dict(manifest["files"]), str(manifest["fingerprint"])
    except OSError as error:
        raise DataError(f"mini's weights cannot be read ({path}: {error.strerror}): make it readable.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"mini's weights are damaged ({path} is not a manifest): {remedy}.") from error
    for name, expected in files.items():
        file = weights / name
        if not file.exists():
            raise DataError(f"mini's weights are incomplete ({file} is missing): {remedy}.")
        try:
            checksum = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"mini's weights cannot be read ({file}: {error.strerror}): make it readable.") from error
        if checksum != expected:
            raise DataError(
                f"mini's weights are damaged ({file} differs from its checksum in manifest.json): {remedy}."
            )
    return manifest


def write_manifest(weights: Path) -> None:
    """Write the checksums of all shipped files, and the fingerprint that is part of every store key."""
    durable.sweep(weights)
    files = {
        str(file.relative_to(weights)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in visible(weights, "**/*")
        if file.is_file() and file.name != "manifest.json"
    }
    fingerprint = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:20]
    text = json.dumps({"fingerprint": fingerprint, "files": files}, indent=1) + "\n"
    durable.write_bytes(
        weights / "manifest.json", text.encode()
    )  # atomic: its existence means that the weights are complete
