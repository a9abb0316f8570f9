"""The stages of the build, in order; each leaves its weights in the output folder, and is skipped if they are there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from benchmark.testbeds.mini.build import autoencoder, contrastive, features, oracles, style, tokenizer, unet
from benchmark.testbeds.mini.build.corpus import Corpus
from benchmark.testbeds.mini.build.loop import Progress
from benchmark.testbeds.mini.load import load_text, load_vae

TRAIN_CHUNKS = 112
SEEDS = {"clip-text": 11, "clip": 12, "vae": 13, "unet": 14, "decoder": 18, "oracle": 15, "features": 16, "style": 17}
STEPS = {
    "clip-text": 700,
    "clip": 700,
    "vae": 2000,
    "unet": 8500,
    "decoder": 1600,
    "oracle": 1600,
    "features": 1600,
    "style": 1200,
}


def halved(module: Any) -> Any:
    """Weights are shipped, and from then on used, as half-precision values (computation stays in fp32)."""
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
    return module


def save_half(module: nn.Module, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in module.state_dict().items()}, path)


class Build:
    """One build: `out` receives the shipped files, `scratch` everything else (pictures, training states)."""

    def __init__(self, out: Path, scratch: Path, progress: Progress) -> None:
        self.out, self.scratch, self.progress = out, scratch, progress
        self.pipeline = out / "pipeline"
        self.train = Corpus(scratch / "corpus", "train", TRAIN_CHUNKS)

    def corpus(self) -> None:
        self.train.build(self.progress)

    def tokenizer(self) -> None:
        if not (self.pipeline / "tokenizer" / "tokenizer.json").exists():
            tokenizer.build(self.train.captions(), self.pipeline / "tokenizer")

    def _tokens(self) -> tuple[Tensor, int]:
        words = CLIPTokenizer.from_pretrained(self.pipeline / "tokenizer")
        ids = words(
            self.train.captions(), padding="max_length", max_length=tokenizer.CONTEXT, truncation=True
        ).input_ids
        return torch.tensor(ids), len(words)

    def clip_text(self) -> None:
        """The open_clip model whose text tower conditions the U-Net; only the tower is shipped."""
        if (self.pipeline / "text_encoder" / "config.json").exists():
            return
        tokens, vocabulary = self._tokens()
        cfg = contrastive.config(vocabulary, patch=16)  # only the text tower is kept: coarse sight will do
        model = contrastive.build("clip-text", cfg, self.train.all_images(), tokens, **self._job("clip-text"))
        halved(contrastive.text_tower(model, vocabulary)).half().save_pretrained(self.pipeline / "text_encoder")

    def clip(self) -> None:
        """The open_clip model that scores: same data, another seed, never seen by the U-Net."""
        if (self.out / "clip" / "open_clip_model.safetensors").exists():
            return
        tokens, vocabulary = self._tokens()
        cfg = contrastive.config(vocabulary, patch=8)
        model = contrastive.build("clip", cfg, self.train.all_images(), tokens, **self._job("clip"))
        save_half(model, self.out / "clip" / "open_clip_model.safetensors")
        said = json.dumps({"model_cfg": cfg}, indent=1)
        (self.out / "clip" / "open_clip_config.json").write_text(said + "\n")

    def vae(self) -> None:
        """Encoder and a first decoder; `decoder` trains the latter on, while the U-Net may learn the latents."""
        if not (self.scratch / "vae" / "config.json").exists():
            autoencoder.build(self.train.all_images(), **self._job("vae")).save_pretrained(self.scratch / "vae")

    def decoder(self) -> None:
        if not (self.pipeline / "vae" / "config.json").exists():
            model = autoencoder.refine(load_vae(self.scratch), self.train.all_images(), **self._job("decoder"))
            halved(model).half().save_pretrained(self.pipeline / "vae")

    def latents(self) -> Path:
        """Latents of the training pictures, made once."""
        path = self.scratch / "latents.safetensors"
        if not path.exists():
            vae = load_vae(self.scratch)
            parts = []
            for k in range(self.train.chunks):
                parts.append(autoencoder.encode(vae, self.train.images(k), seed=k))
                self.progress("latents", k + 1, self.train.chunks, {})
            save_file({"latents": torch.cat(parts).contiguous()}, path)
        return path

    def unet(self) -> None:
        if (self.pipeline / "model_index.json").exists():
            return
        latents = load_file(self.latents())["latents"]
        encode = load_text(self.pipeline)
        model = unet.build(latents, self.train.captions(), encode, **self._job("unet"))
        unet.save_pipeline(halved(model), self.pipeline)

    def oracle(self) -> None:
        self._judge(
            "oracle",
            lambda job: oracles.build(self.train.all_images(), self.train.scenes(), self.train.all_boxes(), **job),
        )

    def features(self) -> None:
        self._judge("features", lambda job: features.build(self.train.all_images(), **job))

    def style(self) -> None:
        """Learns from plain pictures only."""

        def make(job: dict) -> nn.Module:
            plain = torch.tensor([scene.style == 0 and scene.emblem < 0 for scene in self.train.scenes()])
            return style.build(self.train.all_images()[plain], **job)

        self._judge("style", make)

    def _judge(self, name: str, make: Callable[[dict], nn.Module]) -> None:
        path = self.out / f"{name}.safetensors"
        if not path.exists():
            save_half(make(self._job(name)), path)

    def _job(self, name: str) -> dict:
        return {"seed": SEEDS[name], "steps": STEPS[name], "scratch": self.scratch, "progress": self.progress}

    def all(self, only: tuple[str, ...] = ()) -> None:
        """Every stage in order, or those named."""
        for name in only or STAGES:
            getattr(self, name.replace("-", "_"))()

    def clear(self) -> None:
        """Drop the pictures and the training states."""
        shutil.rmtree(self.scratch, ignore_errors=True)


STAGES = (
    "corpus",
    "tokenizer",
    "clip-text",
    "vae",
    "latents",
    "unet",
    "decoder",
    "clip",
    "oracle",
    "features",
    "style",
)
