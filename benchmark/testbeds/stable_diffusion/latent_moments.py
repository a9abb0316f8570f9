"""VAE moments of all train pictures, made once: shards in the store, each an artefact, so that a stopped run goes on.

A picture's row holds mean and deviation of its latent (2C, h, w) in half precision, so a latent is off by at most
5e-4 of itself. A shard is keyed by the names and contents of its picture files, the crop and the VAE, so that of
pictures which are replaced under their names only the shards that hold them are made again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmark.errors import StoreError
from benchmark.json_types import Identity
from benchmark.store import contents
from benchmark.store.claims import Holder, making, take
from benchmark.store.paths import size as readable_size
from benchmark.testbeds.stable_diffusion.picture_files import checksums
from benchmark.testbeds.stable_diffusion.pictures import crops

if TYPE_CHECKING:
    from benchmark.api.testbed import Workbench
    from benchmark.store.artefacts import Artefact
    from benchmark.testbeds.stable_diffusion.pipeline import Pipeline

SHARD = 1024
"""Pictures a shard; 67 MB at 512 x 512."""
KIND, NAME = "moments", "moments.safetensors"
WHAT = "encode training pictures"


class Moments:
    """Rows (2C, h, w) of crops `0..count-1` of every file: that of crop k of file i is `i * count + k`."""

    def __init__(self, pipeline: Pipeline, vae: str, files: Sequence[Path], count: int, size: int) -> None:
        self._pipeline, self._files, self._count, self._size = pipeline, files, count, size
        self._vae = vae  # its checksum
        self._sums: dict[Path, str] = {}  # of the files' contents
        self._open: dict[int, Any] = {}
        self._artefacts: list[Artefact] = []

    @cached_property
    def bytes(self) -> int:
        """Bytes of all shards on the disk."""
        side = self._size // self._pipeline.factor
        return len(self._files) * self._count * 2 * self._pipeline.latent_channels * side * side * 2

    def make(self, bench: Workbench) -> Moments:
        """Encode the missing shards, shared out among the processes. Before that, StoreError for a disk too full."""
        from accelerate import PartialState

        from benchmark.parallel import agreed

        state = PartialState()
        sums = checksums(bench.store.home, self._files, "train", bench.progress)
        self._sums = dict(zip(self._files, sums, strict=True))
        shards = range(0, len(self._files) * self._count, SHARD)
        is_missing = agreed([not bench.store.has(KIND, self._identity(start)) for start in shards])
        missing = [start for start, lacks in zip(shards, is_missing, strict=True) if lacks]
        if missing:
            self._announce(bench, len(missing) / len(shards))
            total = sum(len(self._rows(start)) for start in missing)
            with bench.progress.stage(WHAT, total, "pictures") as stage:
                held_by_others = []
                for start in missing[state.process_index :: state.num_processes]:
                    claim = take(bench.store, KIND, self._identity(start), WHAT, bench.progress)
                    if isinstance(claim, Holder):  # another run makes it: the remaining shards come first
                        held_by_others.append(start)
                        continue
                    with claim:
                        self._make(bench, start)
                    stage.advance(len(self._rows(start)))
                for start in held_by_others:
                    with making(bench.store, KIND, self._identity(start), WHAT, bench.progress) as artefact:
                        if artefact is None:
                            self._make(bench, start)
                    stage.advance(len(self._rows(start)))
        state.wait_for_everyone()
        if state.is_main_process:
            contents.note(bench.store.home, {self._place(start): self._source(start) for start in shards})
        artefacts = [bench.store.find(KIND, self._identity(start)) for start in shards]
        for start, artefact in zip(shards, artefacts, strict=True):
            if artefact is None:  # damaged: set aside, and made again
                self._make(bench, start)
                artefact = bench.store.get(KIND, self._identity(start))
            self._artefacts.append(artefact)
        return self

    def __getitem__(self, row: int) -> Tensor:
        """Mean and deviation (2C, h, w) float32, read from the disk alone."""
        shard, place = divmod(row, SHARD)
        if shard not in self._open:
            from safetensors import safe_open

            self._open[shard] = safe_open(self._artefacts[shard].path(NAME), framework="pt").get_slice("moments")
        return self._open[shard][place : place + 1][0].float()

    def _rows(self, start: int) -> list[tuple[Path, int]]:
        """(file, crop) of one shard's rows."""
        rows = range(start, min(start + SHARD, len(self._files) * self._count))
        return [(self._files[row // self._count], row % self._count) for row in rows]

    def _identity(self, start: int) -> Identity:
        return {"vae": self._vae, "size": self._size, "pictures": self._source(start)}

    def _source(self, start: int) -> str:
        """One checksum of the contents that a shard is made from."""
        lines = "\n".join(f"{file.name}|{self._sums[file]}|{crop}" for file, crop in self._rows(start))
        return hashlib.sha256(lines.encode()).hexdigest()

    def _place(self, start: int) -> str:
        """The files and crops of a shard, whatever the files contain now."""
        lines = "\n".join(f"{file}|{crop}" for file, crop in self._rows(start))
        return f"shard {hashlib.sha256(lines.encode()).hexdigest()[:20]}"

    def _make(self, bench: Workbench, start: int) -> None:
        from safetensors.torch import save_file

        rows = self._rows(start)
        parts = []
        for k in range(0, len(rows), 64):
            files, numbers = zip(*rows[k : k + 64], strict=True)
            parts.append(self._pipeline.moments(crops(files, numbers, self._size)).half())
        with bench.store.make(KIND, self._identity(start)) as folder:
            save_file({"moments": torch.cat(parts).contiguous()}, folder / NAME)

    def _announce(self, bench: Workbench, share: float) -> None:
        needed, home = int(self.bytes * share), bench.store.home
        count = len(self._files) * self._count
        bench.progress.say(
            f"moments   latents of {count:,} training pictures take {readable_size(self.bytes)} in {home}, made once; "
            f"each picture keeps its {self._count} crop{'s' * (self._count > 1)} (crops = 0 draws one in every step)"
        )
        free = shutil.disk_usage(home if home.exists() else home.absolute().parent).free
        if needed > free:
            raise StoreError(
                f"The latents of {count:,} training pictures need {readable_size(needed)} more in {home}, and its disk "
                f"has {readable_size(free)} free: free some space, set PALIMPSEST_HOME to a folder on another disk, or "
                "write crops = 0 into the testbed's file to encode in every step."
            )


def sampled(moments: Tensor, row: int, scale: float) -> Tensor:
    """A latent (C, h, w) drawn from its moments (2C, h, w), the same for the same row, times the VAE's factor."""
    mean, deviation = moments.chunk(2)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(row))
    return (mean + deviation * noise) * scale
