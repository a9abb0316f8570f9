"""The world's training, lesson and held-out pictures, drawn in chunks: chunk k of a split is the same anywhere."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

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
"""Number (of the random numbers) and odds of each split."""
Progress = Callable[[str, int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Chunk:
    """Scenes with their captions and pictures."""

    scenes: list[Scene]
    captions: list[str]
    pictures: Pictures


def draw_chunk(split: str, k: int, size: int = CHUNK) -> Chunk:
    """Chunk k of a split; the random numbers depend on (split, k) alone."""
    number, scene = SPLITS[split]
    seed = number * 1_000_003 + k
    rng = random.Random(seed)
    scenes = [scene(rng) for _ in range(size)]
    captions = [caption(rng, one) for one in scenes]
    return Chunk(scenes, captions, draw(scenes, torch.Generator().manual_seed(seed)))


class Corpus:
    """Chunks on disk, memory-mapped: `images(k)`, `boxes(k)`, `scenes(k)`, `captions(k)`."""

    def __init__(self, folder: Path, split: str, chunks: int) -> None:
        self.folder, self.split, self.chunks = folder, split, chunks

    def __len__(self) -> int:
        return self.chunks * CHUNK

    def build(self, progress: Progress) -> Corpus:
        """Draw what is missing."""
        missing = [k for k in range(self.chunks) if not self._path(k).exists()]
        for done, k in enumerate(missing, self.chunks - len(missing) + 1):
            chunk = draw_chunk(self.split, k)
            said = json.dumps([{"caption": c, **asdict(s)} for c, s in zip(chunk.captions, chunk.scenes, strict=True)])
            with whole(self._path(k)) as part:
                save_file({"images": chunk.pictures.images, "boxes": chunk.pictures.boxes}, part, {"scenes": said})
            progress(f"draw {self.split}", done, self.chunks, {})
        return self

    def images(self, k: int) -> Tensor:
        return self._tensor(k, "images")

    def boxes(self, k: int) -> Tensor:
        return self._tensor(k, "boxes")

    def captions(self) -> list[str]:
        return [row["caption"] for row in self._rows()]

    def scenes(self) -> list[Scene]:
        return [Scene(**{key: value for key, value in row.items() if key != "caption"}) for row in self._rows()]

    def all_images(self) -> Tensor:
        """(N, 3, 64, 64) uint8, all chunks in memory (12 kB a picture)."""
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
