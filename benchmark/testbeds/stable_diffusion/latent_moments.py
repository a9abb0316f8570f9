"""Encodes all train pictures once and stores the moments of their latents in shards, so that a stopped run resumes.

The row of a picture holds mean and standard deviation of its latent (2C, h, w) in half precision, which gives a latent
a relative error of at most 5e-4. The key of a shard contains the names and contents of its picture files, the crop and
the VAE. If a picture is replaced, only its shard is encoded again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor

from benchmark.errors import StoreError
from benchmark.json_types import Identity
from benchmark.store import contents
from benchmark.store.claims import Holder, making, take
from benchmark.store.paths import size as readable_size
from benchmark.testbeds.stable_diffusion.picture_files import checksums
from benchmark.testbeds.stable_diffusion.pictures import crops
from methods.training.prefetch import read_ahead

if TYPE_CHECKING:
    from benchmark.api.testbed import Workbench
    from benchmark.console import Stage
    from benchmark.testbeds.stable_diffusion.pipeline import Pipeline

SHARD = 1024
"""Crops per shard; a shard takes 67 MB at 512 x 512."""
ENCODED = 64
"""Crops that the VAE gets at once."""
KIND, NAME = "moments", "moments.safetensors"
WHAT = "encode training pictures"


class Moments:
    """Moments (2C, h, w) of the crops of all files. Crop k of file i has the row `i * count + k`.

    Args:
        pipeline: encodes the pictures.
        vae: checksum of the VAE.
        files: picture files.
        count: crops per file.
        size: side of a crop in pixels.
    """

    def __init__(self, pipeline: Pipeline, vae: str, files: Sequence[Path], count: int, size: int) -> None:
        self._pipeline, self._files, self._count, self._size = pipeline, files, count, size
        self._vae = vae
        self._sums: dict[Path, str] = {}  # checksums of the picture files
        self.files_of_shards: list[Path] = []
        """The shards' files, set by `make`."""

    @cached_property
    def values_per_row(self) -> int:
        """Number of values of a row, 2C x h x w."""
        side = self._size // self._pipeline.factor
        return 2 * self._pipeline.latent_channels * side * side

    @cached_property
    def bytes(self) -> int:
        """Total size of the shards on disk in bytes."""
        return len(self._files) * self._count * self.values_per_row * 2

    def make(self, bench: Workbench) -> Moments:
        """Encode the missing shards, distributed among the processes.

        Raises:
            StoreError: before encoding, if the disk is too full.
        """
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
                self._encode_missing(bench, missing[state.process_index :: state.num_processes], stage)
        state.wait_for_everyone()
        if state.is_main_process:
            contents.note(bench.store.home, {self._place(start): self._source(start) for start in shards})
        artefacts = [bench.store.find(KIND, self._identity(start)) for start in shards]
        for start, artefact in zip(shards, artefacts, strict=True):
            if artefact is None:  # the store has set a damaged shard aside
                self._write(bench, start, self._encode(bench, start))
                artefact = bench.store.get(KIND, self._identity(start))
            self.files_of_shards.append(artefact.path(NAME))
        return self

    def _encode_missing(self, bench: Workbench, starts: Sequence[int], stage: Stage) -> None:
        """Encode shards; each is written while the next is encoded. Those that other runs encode are waited for."""
        held_by_others = []
        with ThreadPoolExecutor(1, "shards") as writer:
            written: Future[None] | None = None
            for start in starts:
                claim = take(bench.store, KIND, self._identity(start), WHAT, bench.progress)
                if isinstance(claim, Holder):  # another run is encoding this shard: continue with the others
                    held_by_others.append(start)
                    continue
                with ExitStack() as held:
                    held.enter_context(claim)
                    moments = self._encode(bench, start)
                    if written:
                        written.result()  # at most one shard waits in memory to be written
                    written = writer.submit(self._write, bench, start, moments, held.pop_all())
                stage.advance(len(self._rows(start)))
            if written:
                written.result()
        for start in held_by_others:
            with making(bench.store, KIND, self._identity(start), WHAT, bench.progress) as artefact:
                if artefact is None:
                    self._write(bench, start, self._encode(bench, start))
            stage.advance(len(self._rows(start)))

    def _rows(self, start: int) -> list[tuple[Path, int]]:
        """Return (file, crop) of each row of a shard."""
        rows = range(start, min(start + SHARD, len(self._files) * self._count))
        return [(self._files[row // self._count], row % self._count) for row in rows]

    def _identity(self, start: int) -> Identity:
        return {"vae": self._vae, "size": self._size, "pictures": self._source(start)}

    def _source(self, start: int) -> str:
        """Return one checksum of the names and contents of a shard's picture files and of its crops."""
        lines = "\n".join(f"{file.name}|{self._sums[file]}|{crop}" for file, crop in self._rows(start))
        return hashlib.sha256(lines.encode()).hexdigest()

    def _place(self, start: int) -> str:
        """Return a name for a shard that depends on the paths of its files and its crops, not on the contents."""
        lines = "\n".join(f"{file}|{crop}" for file, crop in self._rows(start))
        return f"shard {hashlib.sha256(lines.encode()).hexdigest()[:20]}"

    def _encode(self, bench: Workbench, start: int) -> Tensor:
        """Return the moments (n, 2C, h, w) of a shard in half precision; worker processes read its pictures."""
        rows = self._rows(start)
        tasks = [rows[k : k + ENCODED] for k in range(0, len(rows), ENCODED)]
        parts = [
            self._pipeline.moments(read).half()
            for read in read_ahead(partial(_read_crops, self._size), tasks, bench.workers)
        ]
        return torch.cat(parts).contiguous()

    def _write(self, bench: Workbench, start: int, moments: Tensor, held: ExitStack | None = None) -> None:
        """Write a shard, then release its claim."""
        from safetensors.torch import save_file

        with held or nullcontext(), bench.store.make(KIND, self._identity(start)) as folder:
            save_file({"moments": moments}, folder / NAME)

    def _announce(self, bench: Workbench, share: float) -> None:
        needed, home = int(self.bytes * share), bench.store.home
        count = len(self._files) * self._count
        bench.progress.say(
            f"moments   latents of {count:,} training pictures take {readable_size(self.bytes)} in {home} and are "
            f"computed once; each picture has {self._count} fixed crop{'s' * (self._count > 1)} (with crops = 0, a new "
            "one in every step)"
        )
        free = shutil.disk_usage(home if home.exists() else home.absolute().parent).free
        if needed > free:
            raise StoreError(
                f"The latents of {count:,} training pictures need {readable_size(needed)} more in {home}, but its disk "
                f"has only {readable_size(free)} free: free some space, set PALIMPSEST_HOME to a folder on a different "
                "disk, or write crops = 0 into the testbed's file to encode in every step."
            )


@dataclass
class StoredRows:
    """Reads the moments of some rows from the shards. It can be pickled, so that worker processes can read them."""

    files: Sequence[Path]
    """The shards' files."""
    places: Sequence[int]
    """Row of the shards that each row of the data set has."""
    _open: dict[int, Any] = field(default_factory=dict, repr=False)

    def __call__(self, rows: Sequence[int]) -> Tensor:
        """Return mean and standard deviation (n, 2C, h, w) in float32; only these rows are read from disk."""
        return torch.stack([self._moments(self.places[row]) for row in rows])

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": {}}  # open files cannot be pickled

    def _moments(self, place: int) -> Tensor:
        shard, row = divmod(place, SHARD)
        if shard not in self._open:
            self._open[shard] = safe_open(self.files[shard], framework="pt").get_slice("moments")
        return self._open[shard][row : row + 1][0].float()


def _read_crops(size: int, rows: Sequence[tuple[Path, int]]) -> Tensor:
    files, numbers = zip(*rows, strict=True)
    return crops(files, numbers, size)


def sampled(moments: Tensor, row: int, scale: float) -> Tensor:
    """Draw a latent (C, h, w) from its moments (2C, h, w), and scale it. The row is the seed of the noise.

    Args:
        moments: mean and standard deviation.
        row: number of the row, so that a row always gives the same latent.
        scale: scaling factor of the VAE.
    """
    mean, deviation = moments.chunk(2)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(row))
    return (mean + deviation * noise) * scale
