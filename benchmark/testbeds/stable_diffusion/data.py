"""Provides training data of a testbed: the retain set D_f, streamed from disk. Concept images are kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark.errors import DataError
from benchmark.store.paths import size as readable_size
from benchmark.testbeds.captioned_latents import Captioned as Captioned
from benchmark.testbeds.stable_diffusion.latent_moments import Moments, sampled
from benchmark.testbeds.stable_diffusion.pictures import crops

if TYPE_CHECKING:
    from benchmark.api.testbed import Workbench
    from benchmark.testbeds.stable_diffusion.captions import Split
    from benchmark.testbeds.stable_diffusion.pipeline import Pipeline

REMEMBERED = 2 * 10**9
"""Maximum size in bytes of the hidden states cached in memory; those of all COCO captions would take 180 GB."""


class Streamed:
    """Training data with one row per caption, whose latents and hidden states are computed when a row is drawn.

    Args:
        rows: (row number, caption) of each row.
        latents: returns the latents (n, C, h, w) of some row numbers.
        encode: returns the hidden states (n, L, D) of some texts.
        fits: whether the hidden states of all captions fit into `REMEMBERED` bytes, and so are cached in memory.
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
    bench: Workbench,
    pipeline: Pipeline,
    vae: str,
    split: Split,
    crops_kept: int,
    size: int,
    left_out: Callable[[str], bool],
) -> Streamed:
    """Build the retain set D_f: all captions that are not left out, each with a crop of its picture.

    The random noise of a latent depends only on its row, so a row always has the same latent.

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
    rows: list[tuple[int, str]] = []
    source: list[tuple[int, int]] = []  # (picture, crop) of each row
    for place, text in split.captions:
        number = last_crop[place] = last_crop.get(place, -1) + 1
        if left_out(text):
            continue
        rows.append((len(source), text))
        source.append((place, number % crops_kept if crops_kept else number))
    if not rows:
        raise DataError("Every training caption mentions a target, so no picture is left to train on: add others.")
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
            f"captions  hidden states of {unique:,} unique captions would take {readable_size(needed)} of memory: "
            "captions are encoded in every step instead"
        )
    return Streamed(rows, latents, pipeline.encode, fits=needed <= REMEMBERED)
