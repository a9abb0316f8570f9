"""Frozen prompt encoders: what the router reads of a prompt."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.errors import UsageError

Embed = Callable[[Sequence[str]], Tensor]
"""Texts -> sentence embeddings (N, d), float32, on the CPU."""
MPNET = "sentence-transformers/all-mpnet-base-v2"
"""What APTP reads prompts with; 768 numbers a prompt."""
_ELSE = 'or let the base\'s own encoder read prompts (sentences = "text tower" in a testbed file of your own)'


def text_tower(encode: Callable[[Sequence[str]], Tensor]) -> Embed:
    """Read prompts with a pipeline's own text tower: the mean of its hidden states (N, L, D) over places."""

    def embed(texts: Sequence[str]) -> Tensor:
        parts = [encode(texts[k : k + 64]).mean(1).float().cpu() for k in range(0, len(texts), 64)]
        return torch.cat(parts)

    return embed


def sentence_transformer(name: str = MPNET) -> Embed:
    """Read prompts with a model of the library sentence-transformers, which is installed by the extra `aptp`.

    Raises:
        UsageError: the library is not installed, or it cannot load the model (a folder, or a name it must know).
    """
    try:
        from sentence_transformers import SentenceTransformer

        model: Any = SentenceTransformer(name, device="cpu")
    except ImportError as error:
        raise UsageError(
            f"The sentence encoder '{name}' needs sentence-transformers, which is not installed: "
            f"install the extra `aptp`, {_ELSE}."
        ) from error
    except Exception as error:  # the library and its hub client raise what they like
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise UsageError(
            f"The sentence encoder '{name}' cannot be loaded ({reason}): download it where there is a network and name "
            f'its folder (sentences = "<folder>"), {_ELSE}.'
        ) from error
    return lambda texts: model.encode(list(texts), convert_to_tensor=True).float().cpu()
