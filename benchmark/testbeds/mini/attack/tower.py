"""What both searches stand on: the text tower, its gradient with respect to tokens, and the tokens one may use."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPTextModel

from benchmark.testbeds.mini import load, tokens


class Tower:
    """mini's text tower in fp32; prompts are rows of `length` harmless tokens between the marks of start and end."""

    def __init__(self, pipeline: Path, length: int) -> None:
        self.words, self.length = load.load_tokenizer(pipeline), length
        model = CLIPTextModel.from_pretrained(pipeline / "text_encoder", dtype=torch.float32)
        self._model = model.eval().requires_grad_(False)
        self._table: Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
        self._instead: Tensor | None = None  # embeddings to be read in place of those of the ids
        model.get_input_embeddings().register_forward_hook(lambda module, inputs, output: self._read(output))
        # What is written must be read again as the same tokens.
        single = [k for k in tokens.harmless(self.words) if self.ids(self.words.decode([k])) == [k]]
        self.allowed = torch.tensor(single)

    def ids(self, text: str) -> list[int]:
        return list(self.words(text, add_special_tokens=False).input_ids)

    def text(self, row: Tensor) -> str:
        return str(self.words.decode(row.tolist()))

    @torch.no_grad()
    def of_texts(self, texts: list[str]) -> Tensor:
        """Pooled states (n, D) of texts."""
        ids = self.words(texts, padding="max_length", max_length=self.words.model_max_length, return_tensors="pt")
        return self._model(ids.input_ids).pooler_output

    @torch.no_grad()
    def of_rows(self, rows: Tensor) -> Tensor:
        """Pooled states (n, D) of rows of tokens (n, length)."""
        return self._model(self._full(rows)).pooler_output

    def gradient(self, row: Tensor, wanted: Tensor) -> Tensor:
        """By how much the cosine to `wanted` (D,) would grow with each token in each place: (length, vocabulary)."""
        full = self._full(row[None])
        choice = F.one_hot(full, len(self._table)).float().requires_grad_()
        self._instead = choice @ self._table
        try:
            closeness = F.cosine_similarity(self._model(full).pooler_output, wanted[None]).sum()
        finally:
            self._instead = None
        return torch.autograd.grad(closeness, choice)[0][0, 1 : self.length + 1]

    def _read(self, output: Tensor) -> Tensor:
        return output if self._instead is None else self._instead

    def _full(self, rows: Tensor) -> Tensor:
        """With the marks; no padding, which comes after the end and so is not seen by it (attention is causal)."""
        start, end = (torch.full((len(rows), 1), each) for each in (self.words.bos_token_id, self.words.eos_token_id))
        return torch.cat([start, rows, end], dim=1)
