"""Draws the training, lesson and held-out pictures in chunks. Chunk k of a split is the same on every machine."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from benchmark.testbeds.mini.build.whole import whole
from benchmark.testbeds.mini.world.captions import caption
from benchmark.testbeds.mini.world.draw import Pictures, draw
from benchmark.testbeds.mini.world.scenes import Scene, lesson_scene, world_scene

CHUNK = 512
SPLITS = {"train": (1, world_scene), "heldout": (2, world_scene), "lessons": (3, lesson_scene)}
"""Seed number and distribution of scenes of each split."""
FIELDS = {"other": "second_content"}
"""Name in files -> name in `Scene`, for fields whose names differ."""
Progress = Callable[[str, int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Chunk:
    """Scenes with their captions and pictures."""

    scenes: list[Scene]
    captions: list[str]
    pictures: Pictures


def draw_chunk(split: str, k: int, size: int = CHUNK) -> Chunk:
    """Draw chunk k of a split; random numbers depend only on (split, k)."""
    number, random_scene = SPLITS[split]
    seed = number * 1_000_003 + k
    rng = random.Random(seed)
    scenes = [random_scene(rng) for _ in range(size)]
    captions = [caption(rng, drawn) for drawn in scenes]
    return Chunk(scenes, captions, draw(scenes, torch.Generator().manual_seed(seed)))


def _fields(scene: Scene) -> dict[str, Any]:
    """Return the fields of a scene, by their names in files."""
    names = {field: name for name, field in FIELDS.items()}
    return {names.get(field, field): value for field, value in asdict(scene).items()}


class Corpus:
    """Chunks of a split on disk, memory-mapped."""

    def __init__(self, folder: Path, split: str, chunks: int) -> None:
        self.folder, self.split, self.chunks = folder, split, chunks

    def __len__(self) -> int:
        return self.chunks * CHUNK

    def build(self, progress: Progress) -> Corpus:
        """Draw the chunks that are missing."""
        missing = [k for k in range(self.chunks) if not self._path(k).exists()]
        for done, k in enumerate(missing, self.chunks - len(missing) + 1):
            chunk = draw_chunk(self.split, k)
            rows = [{"caption": c, **_fields(s)} for c, s in zip(chunk.captions, chunk.scenes, strict=True)]
            tensors = {"images": chunk.pictures.images, "boxes": chunk.pictures.boxes}
            with whole(self._path(k)) as part:
                save_file(tensors, part, {"scenes": json.dumps(rows)})
            progress(f"draw {self.split}", done, self.chunks, {})
        return self

    def images(self, k: int) -> Tensor:
        return self._tensor(k, "images")

    def boxes(self, k: int) -> Tensor:
        return self._tensor(k, "boxes")

    def captions(self) -> list[str]:
        return [row["caption"] for row in self._rows()]

    def scenes(self) -> list[Scene]:
        return [
            Scene(**{FIELDS.get(key, key): value for key, value in row.items() if key != "caption"})
            for row in self._rows()
        ]

    def all_images(self) -> Tensor:
        """Return all pictures (N, 3, 64, 64) uint8, in memory (12 kB per picture)."""
        return torch.cat([self.images(k) for k in range(self.chunks)])

    def all_boxes(self) -> Tensor:
        return torch.cat([self.boxes(k) for k in range(self.chunks)])

    def _rows(self) -> Iterator[dict]:
        for k in range(self.chunks):
            with safe_open(self._path(k), "pt") as file:
                yield from json.loads(file.metadata()["scenes"])

    def _tensor(self, k: int, name: str) -> Tensor:
        with safe_open(self._path(k), "pt") as file:
            return file.get_tensor(name)

    def _path(self, k: int) -> Path:
        return self.folder / f"{self.split}-{k:04d}.safetensors"
