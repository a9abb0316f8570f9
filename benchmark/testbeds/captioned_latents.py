"""Captioned latents in memory, which implement the training data that methods receive (`methods.base.Data`)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from prompts.concepts import Concept


@dataclass(frozen=True)
class Captioned:
    """Scaled latents (N, C, h, w) and the hidden states (N, L, D) of their captions, in memory."""

    latents: Tensor
    text: Tensor
    seconds: float = 0.0
    """Time that computing the latents took, in seconds."""

    def __len__(self) -> int:
        return len(self.latents)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.latents[indices], self.text[indices]


def no_latents(text: Tensor) -> Captioned:
    """Return empty data, for methods without concept images. `text` (L, D) determines the shape of hidden states."""
    return Captioned(text.new_empty(0, 4, 1, 1), text.new_empty(0, *text.shape))


def kind_of_latents(concept: Concept) -> str:
    """Return the kind of a concept's latents in the store.

    Latents of an explicit concept have a separate, private kind, because a VAE can decode them to pictures.
    """
    return "explicit-latents" if concept.kind == "explicit" else "latents"
