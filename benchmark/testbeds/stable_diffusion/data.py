"""What training draws from: D_f streamed from the disk, and concept images in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark.store.paths import size as readable_size
from benchmark.testbeds.captioned_latents import Captioned as Captioned
from benchmark.testbeds.stable_diffusion.latent_moments import Moments, sampled
from benchmark.testbeds.stable_diffusion.pictures import crops

if TYPE_CHECKING:
    from benchmark.api.testbed import Workbench
    from benchmark.testbeds.stable_diffusion.captions import Split
    from benchmark.testbeds.stable_diffusion.pipeline import Pipeline

REMEMBERED = 2 * 10**9
"""Bytes of hidden states that are kept in memory: those of all COCO captions would be 180 GB."""


class Streamed:
    """One row for each caption; latents come from `latents(rows)`, text is encoded when a row is drawn.

    Hidden states are remembered by caption where those of all captions fit into REMEMBERED bytes.
    """

    def __init__(
        self, rows: Sequence[tuple[int, str]], latents: Callable[[Sequence[int]], Tensor], encode: Callable, fits: bool
    ) -> None:
        self._rows, self._latents, self._encode = rows, latents, encode
        self._states: dict[str, Tensor] | None = {} if fits else None

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        rows = [self._rows[int(k)] for k in indices]
        texts = [text for _, text in rows]
        return self._latents([row for row, _ in rows]), self._text(texts)

    def _text(self, texts: list[str]) -> Tensor:
        if self._states is None:
            return self._encode(texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._states]
        if new:
            self._states |= dict(zip(new, self._encode(new).cpu(), strict=True))
        return torch.stack([self._states[text] for text in texts])


def retention(
    bench: Workbench, pipeline: Pipeline, vae: str, split: Split, crops_kept: int, size: int, barred: Sequence[str]
) -> Streamed:
    """D_f: every caption that names none of `barred`, with a crop of its picture.

    The captions of a picture take its crops in turn; without kept crops each caption has one of its own, which is read
    and encoded when it is drawn. A latent is drawn from its moments once for each row.
    """
    words = [word.casefold() for word in barred]
    last_crop: dict[int, int] = {}  # by picture
    rows: list[tuple[int, str]] = []
    source: list[tuple[int, int]] = []  # (picture, crop) of each row
    for place, text in split.captions:
        number = last_crop[place] = last_crop.get(place, -1) + 1
        if any(word in text.casefold() for word in words):
            continue
        rows.append((len(source), text))
        source.append((place, number % crops_kept if crops_kept else number))
    moments = Moments(pipeline, vae, split.files, crops_kept, size).make(bench) if crops_kept else None
    scale = float(pipeline.vae.config.scaling_factor)

    def latents(indices: Sequence[int]) -> Tensor:
        sources = [source[row] for row in indices]
        if moments is not None:
            row_moments = [moments[place * crops_kept + crop] for place, crop in sources]
        else:
            files, numbers = zip(*((split.files[place], crop) for place, crop in sources), strict=True)
            row_moments = list(pipeline.moments(crops(files, numbers, size)))
        return torch.stack([sampled(moment, row, scale) for moment, row in zip(row_moments, indices, strict=True)])

    unique = len({text for _, text in rows})
    needed = unique * pipeline.text_length * int(pipeline.unet_config["cross_attention_dim"]) * 4
    if needed > REMEMBERED:
        bench.progress.say(
            f"captions  {unique:,} unique ones would take {readable_size(needed)}: encoded in every step"
        )
    return Streamed(rows, latents, pipeline.encode, fits=needed <= REMEMBERED)
