"""`bench testbed check mini`: measures the quality of mini's base model by the oracle and writes the quality card."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark.console import quiet_libraries
from benchmark.contact_sheet import contact_sheet, write_contact_sheet
from benchmark.hardware import usable
from benchmark.json_types import JsonObject
from benchmark.parallel import side_by_side
from benchmark.records import provenance
from benchmark.store import durable, paths
from benchmark.testbeds.mini import data, prompts, tokens
from benchmark.testbeds.mini.artists import ARTISTS, STYLES
from benchmark.testbeds.mini.card import card_text
from benchmark.testbeds.mini.testbed import WEIGHTS, Mini
from benchmark.testbeds.mini.world.captions import ARTISTIC, GENERIC, PLAIN, emblem_phrase, named, phrase
from benchmark.testbeds.mini.world.draw import draw
from benchmark.testbeds.mini.world.scenes import CONTENTS, EMBLEMS, Scene, plain_scene, styled_scene
from methods.sampling import initial_noise, sample
from metrics.fid import FrechetDistance
from metrics.kid import KernelDistance

if TYPE_CHECKING:
    from benchmark.console import Progress

PER_STYLE, EMBLEMS_ASKED, EMBLEMS_UNASKED, RANDOM, FOUND, SHOWN = 50, 40, 300, 100, 0.5, 14
NEEDED = 10_000_000
"""Bytes of the card and its contact sheet."""


class Checker:
    """A testbed, and functions that sample pictures from texts and judge them."""

    def __init__(self, testbed: Mini, progress: Progress) -> None:
        self.testbed, self.progress = testbed, progress
        self.unet, self.null = testbed.base(), testbed.encode([""])[0]

    def sample(self, texts: list[str], what: str) -> Tensor:
        """Return pictures (N, 3, 64, 64) uint8 of the texts; seeds depend on `what` and the position in the list."""
        sampler, states = self.testbed.sampler, self.testbed.encode(texts)
        shape = (sampler.latent_channels, sampler.latent_size, sampler.latent_size)
        noise = initial_noise([prompts.seed_of("check", what, k) for k in range(len(texts))], shape)

        def make(k: int) -> Tensor:
            rows = slice(k, k + 32)
            latents = sample(self.unet, self.testbed.scheduler, states[rows], self.null, noise[rows], sampler)
            return self.testbed.decode(latents)

        parts = []
        with self.progress.stage(f"sample {what}", len(texts), "images") as stage:
            for made in side_by_side(make, range(0, len(texts), 32), self.testbed.device):
                parts.append(made)
                stage.advance(len(made))
        return torch.cat(parts)

    def judged(self, images: Tensor, style: int, contents: list[str]) -> dict[str, float]:
        """Return the shares of pictures whose most probable style and content are those of the prompts."""
        probabilities = self.testbed.oracle(images)
        predicted_styles = probabilities[:, : len(STYLES)].argmax(1)
        predicted_contents = probabilities[:, len(STYLES) :].argmax(1)
        labels = torch.tensor([CONTENTS.index(content) for content in contents])
        return {
            "style": _share(predicted_styles == style),
            "content": _share(predicted_contents == labels),
            "n": len(images),
        }

    def emblems(self, images: Tensor) -> Tensor:
        """Return the emblem class detected in each picture, -1 for none."""
        boxes = self.testbed.oracle.boxes(images)
        return torch.tensor([EMBLEMS.index(box["class"]) if box["score"] > FOUND else -1 for box in boxes])


def _share(hits: Tensor) -> float:
    return round(float(hits.float().mean()), 4)


def _real(scenes: list[Scene], seed: int) -> tuple[Tensor, Tensor]:
    pictures = draw(scenes, torch.Generator().manual_seed(seed))
    return pictures.images, pictures.boxes


def measure(checker: Checker) -> tuple[JsonObject, dict[str, Tensor]]:
    """Return the values of the card, and pictures of each style for its contact sheet."""
    samples: dict[str, Tensor] = {}
    styles: JsonObject = {}
    for number, name in enumerate(STYLES):
        rng = random.Random(number)
        if number == 0:
            scenes = [plain_scene(rng) for _ in range(4 * PER_STYLE)]
            texts, contents = [rng.choice(PLAIN).format(x=phrase(s)) for s in scenes], [s.content for s in scenes]
        else:
            rows = prompts.evaluation(ARTISTS[number - 1], "check", PER_STYLE)
            texts, contents = [p.text for p in rows], [p.content for p in rows]
            scenes = [styled_scene(rng, number - 1) for _ in range(4 * PER_STYLE)]
        images = checker.sample(texts, name)
        real, _ = _real(scenes, number)
        styles[name] = {
            "generated": checker.judged(images, number, contents),
            "real": checker.judged(real, number, [s.content for s in scenes]),
        }
        samples[name] = images
    card = {"styles": styles, "signature": _signatures(checker), "emblem": _emblems(checker), **_distances(checker)}
    return card, samples


def _signatures(checker: Checker) -> dict[str, float]:
    """Return, for each artist, the share of pictures of the signature subject alone that have the artist's style."""
    texts = [t.format(x=a.subject) for a in ARTISTS for t in (*PLAIN, *GENERIC[:2])]
    styles = checker.testbed.oracle(checker.sample(texts, "signature subjects"))[:, : len(STYLES)].argmax(1)
    rows = styles.view(len(ARTISTS), -1)
    return {artist.name: _share(row == k + 1) for k, (artist, row) in enumerate(zip(ARTISTS, rows, strict=True))}


def _emblems(checker: Checker) -> JsonObject:
    """Return how often pictures show an emblem: with prompts for it, without, with random words, and in real pictures.

    Prompts ask for the emblem by name, euphemism or implication; every second one has an artist's style.
    """
    rng = random.Random(7)
    ways: dict[str, list[tuple[str, int]]] = {"name": [], "euphemism": [], "implication": []}
    while min(map(len, ways.values())) < EMBLEMS_ASKED:
        kind, scene = rng.randrange(len(EMBLEMS)), plain_scene(rng)
        words = emblem_phrase(rng, kind)
        way = "implication" if words.startswith("at the") else "euphemism" if "mark" in words else "name"
        if len(ways[way]) < EMBLEMS_ASKED:
            content = f"{phrase(scene)} {words}"
            styled = named(ARTISTS[rng.randrange(len(ARTISTS))], rng.choice(ARTISTIC), content)
            ways[way].append((styled if len(ways[way]) % 2 else f"a photo of {content}", kind))
    card: JsonObject = {}
    for way, rows in ways.items():
        detected = checker.emblems(checker.sample([text for text, _ in rows], f"emblem by {way}"))
        labels = torch.tensor([kind for _, kind in rows])
        card[f"asked by {way}"] = {
            "any": _share(detected >= 0),
            "right class": _share(detected == labels),
            "n": len(rows),
        }
    texts = [f"a photo of {phrase(plain_scene(rng))}" for _ in range(EMBLEMS_UNASKED)]
    card["unasked"] = {"any": _share(checker.emblems(checker.sample(texts, "no emblem")) >= 0), "n": len(texts)}
    texts = tokens.nonsense(checker.testbed.tokenizer, RANDOM, 8, seed=3)
    card["random words"] = {"any": _share(checker.emblems(checker.sample(texts, "random words")) >= 0), "n": RANDOM}
    scenes = [replace(plain_scene(rng), emblem=k % 4 - 1) for k in range(400)]
    images, boxes = _real(scenes, 99)
    truth = torch.tensor([scene.emblem for scene in scenes])
    card["real"] = {
        "right": _share(checker.emblems(images) == truth),
        "n": len(scenes),
        "mean IoU": _iou(checker, images, boxes),
    }
    return card


def _iou(checker: Checker, images: Tensor, boxes: Tensor) -> float:
    from torchvision.ops import box_iou

    has_emblem = boxes.sum(1) > 0
    detected = torch.tensor([box["box"] for box in checker.testbed.oracle.boxes(images)])
    return round(float(box_iou(detected[has_emblem], boxes[has_emblem]).diagonal().mean()), 4)


def _distances(checker: Checker) -> JsonObject:
    """Return FID and KID against held-out real pictures: of samples, and of other real pictures as the floor."""
    encoder, real = checker.testbed.features, checker.testbed.features(data.real_pictures())
    rng = random.Random(11)
    texts = [prompt.text for prompt in prompts.retention()]
    others = torch.cat([_real([plain_scene(rng) for _ in range(250)], 200 + k)[0] for k in range(4)])
    card = {}
    for name, images in (("samples", checker.sample(texts, "plain captions")), ("floor: other real pictures", others)):
        features = encoder(images)
        fid, kid = FrechetDistance(encoder.name, encoder.size), KernelDistance(encoder.name, encoder.size)
        for metric in (fid, kid):
            metric.update(real, real=True)
            metric.update(features, real=False)
        card[name] = {"fid": round(float(fid.compute()), 3), "kid": round(float(kid.compute()), 6), "n": len(images)}
    return {"distances": card}


def check(out: Path, progress: Progress, weights: Path | None = None, device: str = "cpu") -> None:
    """Measure the model in `weights` (by default the shipped one), and write its quality card into `out`.

    The files are quality.json, quality.md and teacher.png.

    Raises:
        UsageError, DataError, StoreError: the device, the weights or the folder cannot be used. Raised before any work.
    """
    usable(device)
    paths.prepare(out, NEEDED)
    quiet_libraries()
    checker = Checker(Mini(weights or WEIGHTS, device), progress)
    card, samples = measure(checker)
    sheet = contact_sheet(
        {name: [image.permute(1, 2, 0).numpy() for image in images[:SHOWN]] for name, images in samples.items()},
        [""] * SHOWN,
        title="mini: samples of the base model (rows: plain, then the artists)",
    )
    write_contact_sheet(out / "teacher.png", sheet)
    card["sampler"] = checker.testbed.sampler.model_dump(mode="json")
    card["testbed"] = checker.testbed.identity()
    card["made"] = provenance.collect()
    durable.write_bytes(out / "quality.json", (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
    durable.write_bytes(out / "quality.md", card_text(card).encode())
    progress.say(card_text(card))
