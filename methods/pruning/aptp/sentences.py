"""Frozen sentence encoders that compute the prompt embeddings for APTP's router."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.errors import UsageError

Embed = Callable[[Sequence[str]], Tensor]
"""Maps N texts to sentence embeddings (N, d), float32, on the CPU."""
MPNET = "sentence-transformers/all-mpnet-base-v2"
"""The sentence encoder of APTP; its embeddings have width 768."""
_ELSE = 'or use the text encoder of the base (sentences = "text tower" in your own testbed file)'


def text_tower(encode: Callable[[Sequence[str]], Tensor]) -> Embed:
    """Return an encoder that averages the hidden states (N, L, D) of the pipeline's text encoder over tokens."""

    def embed(texts: Sequence[str]) -> Tensor:
        parts = [encode(texts[k : k + 64]).mean(1).float().cpu() for k in range(0, len(texts), 64)]
        return torch.cat(parts)

    return embed


def sentence_transformer(name: str = MPNET) -> Embed:
    """Return an encoder from the library sentence-transformers, which the extra `aptp` installs.

    Args:
        name: folder or name of a model that the library can load.

    Raises:
        UsageError: the library is not installed, or it cannot load the model.
    """
    try:
        from sentence_transformers import SentenceTransformer

        model: Any = SentenceTransformer(name, device="cpu")
    except ImportError as error:
        raise UsageError(
            f"The sentence encoder '{name}' needs sentence-transformers, which is not installed: "
            f"install the extra `aptp`, {_ELSE}."
        ) from error
    except Exception as error:  # the library and its hub client raise errors without a common class
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise UsageError(
            f"The sentence encoder '{name}' cannot be loaded ({reason}): download it elsewhere and give "
            f'its folder (sentences = "<folder>"), {_ELSE}.'
        ) from error
    return lambda texts: model.encode(list(texts), convert_to_tensor=True).float().cpu()
