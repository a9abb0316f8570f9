"""The stages of the build, in order. Each writes its weights into the output folder, and is skipped if they exist."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTokenizer

from benchmark.json_types import JsonObject
from benchmark.testbeds.mini.build import autoencoder, contrastive, features, oracles, style, tokenizer, unet
from benchmark.testbeds.mini.build.corpus import CHUNK, Corpus
from benchmark.testbeds.mini.build.loop import CPU, Job, Progress
from benchmark.testbeds.mini.build.whole import whole
from benchmark.testbeds.mini.load import load_text, load_vae

TRAIN_CHUNKS, LESSON_CHUNKS, REPAINTED = 112, 96, 40
SEEDS = {
    "clip-text": 11,
    "clip": 12,
    "vae": 13,
    "unet": 14,
    "unet-lessons": 19,
    "decoder": 18,
    "oracle": 15,
    "features": 16,
    "style": 17,
}
STEPS = {
    "clip-text": 700,
    "clip": 700,
    "vae": 2000,
    "unet": 16000,
    "unet-lessons": 4500,
    "decoder": 1600,
    "oracle": 2200,
    "features": 1600,
    "style": 1200,
}


def recipe() -> JsonObject:
    """Return the settings that must be the same when a build is resumed."""
    return {"seeds": SEEDS, "steps": STEPS, "chunks": [TRAIN_CHUNKS, LESSON_CHUNKS, REPAINTED]}


def halved(module: Any) -> Any:
    """Round weights to half precision, in which they are shipped; computation stays in fp32."""
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
    return module


def save_half(module: nn.Module, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in module.state_dict().items()}, path)


class Build:
    """A build: shipped files go into `out`, pictures and training states into `scratch`.

    A stage that is done is skipped. A stage that needs the result of another stage runs it first.
    """

    def __init__(self, out: Path, scratch: Path, progress: Progress, device: torch.device = CPU) -> None:
        self.out, self.scratch, self.progress, self.device = out, scratch, progress, device
        self.pipeline = out / "pipeline"
        self._train = Corpus(scratch / "corpus", "train", TRAIN_CHUNKS)
        self._lessons = Corpus(scratch / "corpus", "lessons", LESSON_CHUNKS)

    def corpus(self) -> Corpus:
        """Return the training corpus: 57,344 captioned pictures of the world."""
        return self._train.build(self.progress)

    def lessons(self) -> Corpus:
        """Return the lessons: 49,152 more pictures of cases that are rare in the world."""
        return self._lessons.build(self.progress)

    def tokenizer(self) -> CLIPTokenizer:
        folder = self.pipeline / "tokenizer"
        if not folder.exists():
            captions = self.corpus().captions()
            with whole(folder) as part:
                tokenizer.build(captions, part)
        return CLIPTokenizer.from_pretrained(folder)

    def _contrastive(self, name: str, patch: int) -> tuple[Any, dict[str, Any]]:
        words, corpus = self.tokenizer(), self.corpus()
        cfg = contrastive.config(len(words), patch)
        length = tokenizer.CONTEXT
        ids = words(corpus.captions(), padding="max_length", max_length=length, truncation=True).input_ids
        return contrastive.build(name, cfg, corpus.all_images(), torch.tensor(ids), self._job(name)), cfg

    def clip_text(self) -> Path:
        """Train the open_clip model whose text tower conditions the U-Net; only this tower is shipped."""
        folder = self.pipeline / "text_encoder"
        if not folder.exists():
            model, cfg = self._contrastive("clip-text", patch=16)  # coarse patches: only the text tower is kept
            with whole(folder) as part:
                halved(contrastive.text_tower(model, cfg["text_cfg"]["vocab_size"])).half().save_pretrained(part)
        return folder

    def clip(self) -> None:
        """Train the open_clip model that scores, on the same data with another seed; the U-Net does not use it."""
        folder = self.out / "clip"
        if not folder.exists():
            model, cfg = self._contrastive("clip", patch=8)
            with whole(folder) as part:
                save_half(model, part / "open_clip_model.safetensors")
                (part / "open_clip_config.json").write_text(json.dumps({"model_cfg": cfg}, indent=1) + "\n")

    def vae(self) -> Path:
        """Train the encoder and a first decoder; stage `decoder` continues to train the decoder."""
        folder = self.scratch / "vae"
        if not folder.exists():
            model = autoencoder.build(self.corpus().all_images(), self._job("vae"))
            with whole(folder) as part:
                model.save_pretrained(part)
        return folder

    def decoder(self) -> None:
        folder = self.pipeline / "vae"
        if not folder.exists():
            model = autoencoder.refine(load_vae(self.vae().parent), self.corpus().all_images(), self._job("decoder"))
            with whole(folder) as part:
                halved(model).half().save_pretrained(part)
                config = json.loads((part / "config.json").read_text())
                config.pop("_name_or_path", None)  # a path of this machine
                (part / "config.json").write_text(json.dumps(config, indent=2) + "\n")

    def latents(self) -> None:
        """Encode the pictures of both corpora, once."""
        self._shown(self.corpus())
        self._shown(self.lessons())

    def _shown(self, corpus: Corpus) -> unet.Shown:
        path = self.scratch / f"latents-{corpus.split}.safetensors"
        if not path.exists():
            vae, parts = load_vae(self.vae().parent), []
            for k in range(corpus.chunks):
                parts.append(autoencoder.encode(vae, corpus.images(k), seed=k))
                self.progress(path.stem, k + 1, corpus.chunks, {})
            with whole(path) as part:
                save_file({"latents": torch.cat(parts).contiguous()}, part)
        return unet.Shown(load_file(path)["latents"], corpus.captions(), corpus.all_boxes())

    def unet(self) -> None:
        if not (self.pipeline / "model_index.json").exists():  # written last, by save_pipeline
            self.clip_text()
            world, lessons = self._shown(self.corpus()), self._shown(self.lessons())
            model = unet.build(world, lessons, load_text(self.pipeline), self._job("unet"), self._job("unet-lessons"))
            unet.save_pipeline(halved(model), self.pipeline)

    def oracle(self) -> None:
        """Train the oracle on both corpora, and on the first lessons again as the decoder reconstructs them."""

        def make(corpus: Corpus, job: Job) -> nn.Module:
            lessons, repainted = self.lessons(), self._repainted()
            images = torch.cat([corpus.all_images(), lessons.all_images(), repainted])
            scenes, boxes = lessons.scenes(), lessons.all_boxes()
            all_scenes = corpus.scenes() + scenes + scenes[: len(repainted)]
            all_boxes = torch.cat([corpus.all_boxes(), boxes, boxes[: len(repainted)]])
            return oracles.build(images, all_scenes, all_boxes, job)

        self._judge("oracle", make)

    def _repainted(self) -> torch.Tensor:
        self.decoder()
        vae, latents, parts = load_vae(self.pipeline), self._shown(self.lessons()).latents, []
        for k in range(REPAINTED):
            parts.append(autoencoder.repaint(vae, latents[k * CHUNK : (k + 1) * CHUNK], seed=k))
            self.progress("repaint lessons", k + 1, REPAINTED, {})
        return torch.cat(parts)

    def features(self) -> None:
        self._judge("features", lambda corpus, job: features.build(corpus.all_images(), job))

    def style(self) -> None:
        """Train the style encoder, on plain pictures only."""

        def make(corpus: Corpus, job: Job) -> nn.Module:
            plain = torch.tensor([scene.style == 0 and scene.emblem < 0 for scene in corpus.scenes()])
            return style.build(corpus.all_images()[plain], job)

        self._judge("style", make)

    def _judge(self, name: str, make: Callable[[Corpus, Job], nn.Module]) -> None:
        path = self.out / f"{name}.safetensors"
        if not path.exists():
            module = make(self.corpus(), self._job(name))
            with whole(path) as part:
                save_half(module, part)

    def _job(self, name: str) -> Job:
        return Job(SEEDS[name], STEPS[name], self.scratch, self.progress, self.device)

    def run(self, only: tuple[str, ...] = ()) -> None:
        """Run all stages in order, or the named ones with the stages that they need."""
        for name in only or STAGES:
            getattr(self, name.replace("-", "_"))()

    def clear(self) -> None:
        """Remove the pictures and the training states."""
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
