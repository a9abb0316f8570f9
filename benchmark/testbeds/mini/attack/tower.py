"""The text encoder for both attacks: pooled states, their gradient with respect to tokens, and the allowed tokens."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPTextModel

from benchmark.testbeds.mini import load, tokens


class Tower:
    """mini's text encoder in fp32. Prompts are rows of `length` harmless tokens, without start and end tokens."""

    def __init__(self, pipeline: Path, length: int) -> None:
        self.words, self.length = load.load_tokenizer(pipeline), length
        model = CLIPTextModel.from_pretrained(pipeline / "text_encoder", dtype=torch.float32, use_safetensors=True)
        self._model = model.eval().requires_grad_(False)
        self._table: Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
        self._embeddings: Tensor | None = None  # if set, they replace the embeddings of the token ids
        model.get_input_embeddings().register_forward_hook(lambda module, inputs, output: self._replace(output))
        # Only tokens that survive decoding and encoding are allowed.
        single = [k for k in tokens.harmless(self.words) if self.ids(self.words.decode([k])) == [k]]
        self.allowed = torch.tensor(single)

    def ids(self, text: str) -> list[int]:
        return list(self.words(text, add_special_tokens=False).input_ids)

    def text(self, row: Tensor) -> str:
        return str(self.words.decode(row.tolist()))

    @torch.no_grad()
    def of_texts(self, texts: list[str]) -> Tensor:
        """Return pooled states (n, D) of texts."""
        ids = self.words(texts, padding="max_length", max_length=self.words.model_max_length, return_tensors="pt")
        return self._model(ids.input_ids).pooler_output

    @torch.no_grad()
    def of_rows(self, rows: Tensor) -> Tensor:
        """Return pooled states (n, D) of rows of tokens (n, length)."""
        return self._model(self._add_ends(rows)).pooler_output

    def gradient(self, row: Tensor, target_state: Tensor) -> Tensor:
        """Return the gradient (length, vocabulary) of the cosine to `target_state` (D,) for each token and position."""
        full = self._add_ends(row[None])
        choice = F.one_hot(full, len(self._table)).float().requires_grad_()
        self._embeddings = choice @ self._table
        try:
            closeness = F.cosine_similarity(self._model(full).pooler_output, target_state[None]).sum()
        finally:
            self._embeddings = None
        return torch.autograd.grad(closeness, choice)[0][0, 1 : self.length + 1]

    def _replace(self, output: Tensor) -> Tensor:
        return output if self._embeddings is None else self._embeddings

    def _add_ends(self, rows: Tensor) -> Tensor:
        """Add start and end tokens. Padding is not needed: it would follow the end token, and attention is causal."""
        start, end = (torch.full((len(rows), 1), token) for token in (self.words.bos_token_id, self.words.eos_token_id))
        return torch.cat([start, rows, end], dim=1)
