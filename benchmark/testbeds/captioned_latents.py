"""Captioned latents that fit into memory, as every testbed hands them to methods (`methods.base.Data`)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from prompts.concepts import Concept


@dataclass(frozen=True)
class Captioned:
    """Latents (N, C, h, w), already scaled, with the hidden states of their captions (N, L, D), in memory."""

    latents: Tensor
    text: Tensor
    seconds: float = 0.0
    """What making the latents took, once."""

    def __len__(self) -> int:
        return len(self.latents)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.latents[indices], self.text[indices]


def no_latents(text: Tensor) -> Captioned:
    """No pictures: what stands for concept images where they are not made. `text` (L, D) gives the width of texts."""
    return Captioned(text.new_empty(0, 4, 1, 1), text.new_empty(0, *text.shape))


def kind_of_latents(concept: Concept) -> str:
    """What the store calls the latents of concept images: a VAE makes pictures of them again."""
    return "explicit-latents" if concept.kind == "explicit" else "latents"
