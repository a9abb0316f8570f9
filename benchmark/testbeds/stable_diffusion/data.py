"""Provides training data of a testbed: the retain set D_f, streamed from disk. Concept images are kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark.errors import DataError
from benchmark.store.paths import size as readable_size
from benchmark.testbeds.captioned_latents import Captioned as Captioned
from benchmark.testbeds.stable_diffusion.latent_moments import Moments, StoredRows, sampled
from benchmark.testbeds.stable_diffusion.pictures import Crops
from methods.base import FileData

if TYPE_CHECKING:
    from benchmark.api.testbed import Workbench
    from benchmark.testbeds.stable_diffusion.captions import Split
    from benchmark.testbeds.stable_diffusion.pipeline import Pipeline

REMEMBERED = 2 * 10**9
"""Maximum size in bytes of the hidden states cached in memory; those of all COCO captions would take 180 GB."""


class Streamed(FileData):
    """Training data with one row per caption, whose latents and hidden states are computed when a row is drawn.

    The random noise of a latent depends only on its row, so a row always has the same latent.

    Args:
        captions: the caption of each row.
        reader: reads some rows from files: crops (uint8), or moments of latents (float32).
        row_bytes: size in bytes of a row that `reader` returns.
        moments: computes moments of latents (n, 2C, h, w) from what `reader` returned.
        scale: scaling factor of the VAE.
        encode: returns the hidden states (n, L, D) of some texts.
        fits: whether the hidden states of all captions fit into `REMEMBERED` bytes, and so are cached in memory.
    """

    def __init__(
        self,
        captions: Sequence[str],
        reader: Callable[[Sequence[int]], Tensor],
        row_bytes: int,
        moments: Callable[[Tensor], Tensor],
        scale: float,
        encode: Callable[[Sequence[str]], Tensor],
        fits: bool,
    ) -> None:
        self.reader, self.row_bytes = reader, row_bytes
        self._captions, self._moments, self._scale, self._encode = captions, moments, scale, encode
        self._states: dict[str, Tensor] | None = {} if fits else None

    def __len__(self) -> int:
        return len(self._captions)

    def encoded(self, indices: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        numbers = indices.tolist()
        moments = self._moments(rows)
        latents = [sampled(row_moments, n, self._scale) for row_moments, n in zip(moments, numbers, strict=True)]
        return torch.stack(latents), self._text([self._captions[n] for n in numbers])

    def _text(self, texts: list[str]) -> Tensor:
        if self._states is None:
            return self._encode(texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._states]
        if new:
            self._states |= dict(zip(new, self._encode(new).cpu(), strict=True))
        return torch.stack([self._states[text] for text in texts])


def retention(
    bench: Workbench,
    pipeline: Pipeline,
    vae: str,
    split: Split,
    crops_kept: int,
    size: int,
    left_out: Callable[[str], bool],
) -> Streamed:
    """Build the retain set D_f: all captions that are not left out, each with a crop of its picture.

    Args:
        bench: store and progress.
        pipeline: encodes pictures and captions.
        vae: checksum of the VAE.
        split: pictures and captions.
        crops_kept: number of crops per picture that are encoded and stored in advance; the captions of a picture take
            them in turn. With 0, every caption has its own crop, which is encoded whenever it is drawn.
        size: side of a crop in pixels.
        left_out: returns whether a caption is left out.

    Raises:
        DataError: all captions are left out.
    """
    last_crop: dict[int, int] = {}  # picture -> number of the last crop that a caption took
    captions: list[str] = []
    source: list[tuple[int, int]] = []  # (picture, crop) of each row
    for place, text in split.captions:
        number = last_crop[place] = last_crop.get(place, -1) + 1
        if left_out(text):
            continue
        captions.append(text)
        source.append((place, number % crops_kept if crops_kept else number))
    if not captions:
        raise DataError("Every training caption mentions a target, so no picture is left to train on: add others.")
    reader: Callable[[Sequence[int]], Tensor]
    moments: Callable[[Tensor], Tensor]
    if crops_kept:
        stored = Moments(pipeline, vae, split.files, crops_kept, size).make(bench)
        reader = StoredRows(stored.files_of_shards, [place * crops_kept + crop for place, crop in source])
        row_bytes, moments = 4 * stored.values_per_row, lambda rows: rows
    else:
        reader, row_bytes, moments = Crops(split.files, source, size), 3 * size * size, pipeline.moments

    unique = len(set(captions))
    needed = unique * pipeline.text_length * int(pipeline.unet_config["cross_attention_dim"]) * 4
    if needed > REMEMBERED:
        bench.progress.say(
            f"captions  hidden states of {unique:,} unique captions would take {readable_size(needed)} of memory: "
            "captions are encoded in every step instead"
        )
    scale = float(pipeline.vae.config.scaling_factor)
    return Streamed(captions, reader, row_bytes, moments, scale, pipeline.encode, fits=needed <= REMEMBERED)
