"""Measures how fast worker processes read training pictures, and how long a training step waits for them.

The pictures are random JPEG files of COCO's usual size, 640 x 480. The U-Net's part of a step is replaced by a pause,
during which the process is idle, as it is while a GPU computes.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmark.json_types import JsonObject
from benchmark.records import provenance
from benchmark.testbeds.stable_diffusion.pictures import Crops
from methods.base import FileData
from methods.training.batches import BatchStream
from methods.training.prefetch import StepBatches

WORKERS = (0, 1, 2, 4)
FILES = 128
"""Number of picture files; they are read in a new order in every epoch."""
WIDTH, HEIGHT = 640, 480
SIZE = 512
"""Side of a crop, that of SD 2.1's images."""


@dataclass(frozen=True)
class Reading:
    """The speed of reading with a number of worker processes."""

    workers: int
    pictures_per_second: float
    """Crops that are read per second if steps take no time."""
    waited: float
    """Share of a training step that waits for pictures, 0 to 1."""


class Decoded(FileData):
    """Crops of picture files as training data, without networks: latents and hidden states are single zeros."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.reader, self.row_bytes = Crops(files, [(k, 0) for k in range(len(files))], SIZE), 3 * SIZE * SIZE
        self._length = len(files)

    def __len__(self) -> int:
        return self._length

    def encoded(self, indices: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(rows), 1, 1, 1), torch.zeros(len(rows), 1, 1)


def write_pictures(folder: Path) -> list[Path]:
    """Write the picture files into a folder. Smooth random colours compress to about the size of photos."""
    files = []
    for k in range(FILES):
        noise = torch.randint(256, (HEIGHT // 8, WIDTH // 8, 3), generator=torch.Generator().manual_seed(k))
        picture = Image.fromarray(noise.to(torch.uint8).numpy()).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=95)
        files.append(folder / f"{k:06}.jpg")
        files[-1].write_bytes(content.getvalue())
    return files


def measure(batch: int, steps: int, step_seconds: float) -> JsonObject:
    """Return the speed of reading with 0, 1, 2 and 4 workers, ready for JSON.

    Args:
        batch: pictures per training step.
        steps: timed steps.
        step_seconds: seconds that the U-Net computes in a step.
    """
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        files = write_pictures(Path(folder))
        rows = [
            Reading(
                workers,
                batch * steps / _seconds(files, batch, steps, 0.0, workers)[0],
                min(1.0, _share_waited(files, batch, steps, step_seconds, workers)),
            )
            for workers in WORKERS
        ]
        mean_bytes = sum(file.stat().st_size for file in files) / len(files)
    return {
        "batch": batch,
        "steps": steps,
        "step_seconds": step_seconds,
        "crop": SIZE,
        "picture": [WIDTH, HEIGHT],
        "bytes_per_picture": mean_bytes,
        "cores": len(os.sched_getaffinity(0)),
        "rows": [asdict(row) for row in rows],
        "made": provenance.collect(),
    }


def _share_waited(files: Sequence[Path], batch: int, steps: int, step_seconds: float, workers: int) -> float:
    seconds, waited = _seconds(files, batch, steps, step_seconds, workers)
    return waited / seconds


def _seconds(files: Sequence[Path], batch: int, steps: int, step_seconds: float, workers: int) -> tuple[float, float]:
    """Return the seconds that `steps` steps take after a warm-up of two, and how many of them wait for pictures."""
    stream = BatchStream(
        name="retain", seed=0, data=Decoded(files), null=torch.zeros(1, 1), batch=batch, timesteps=1000
    )
    warm_up = 2
    cycle = [(1, (stream,))]
    with StepBatches(cycle, range(steps + warm_up), torch.device("cpu"), workers=workers) as source:
        for step in range(steps + warm_up):
            if step == warm_up:
                began, waited = time.perf_counter(), source.waited
            source.draw(step)
            time.sleep(step_seconds)
        return time.perf_counter() - began, source.waited - waited
