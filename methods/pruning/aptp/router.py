"""The prompt router: architecture predictor, codes, and how prompts are assigned to them.

A vector of gate logits is `start` plus an offset: that of a code (an expert's), or what the predictor makes of a
prompt. Prompts and codes meet by the cosine of their offsets: with `start` in both, all would be alike, since a budget
moves all gates together. In training, the assignment is balanced by optimal transport, else one code would take all; in
use, each prompt goes to the nearest code.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.pruning.vector import Layout

EPSILON = 0.05
"""Entropy of the transport: APTP's."""
BALANCED = 1e-3
"""Largest error of a row's or column's sum."""


class Router(nn.Module):
    """`codes` x gates logits, and a linear predictor from embeddings of `dimension` numbers to gates."""

    def __init__(self, layout: Layout, codes: int, dimension: int, mean: Tensor, source: torch.Generator) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(layout.length))
        self.codes = nn.Parameter(_orthogonal(codes, layout.length, source))
        self.predictor = nn.Parameter(_orthogonal(dimension, layout.length, source))
        self.mean: Tensor
        self.register_buffer("mean", mean.clone())
        self.scale: Tensor
        widths = [torch.full((count,), count**-0.5) for count in layout.widths.values()]
        # Wide gates must not decide alone what is alike: each counts as one (APTP's width-depth normalisation).
        self.register_buffer("scale", torch.cat([*widths, torch.ones(len(layout.depths))]), persistent=False)

    def read(self, embeddings: Tensor) -> Tensor:
        """Return embeddings (n, d) without what all prompts have in common, of length 1."""
        return F.normalize(embeddings - self.mean, dim=-1)

    def offsets(self, read: Tensor) -> Tensor:
        """Return what the predictor adds to the logits (n, length)."""
        return read @ self.predictor

    def similarity(self, offsets: Tensor) -> Tensor:
        """Return cosines (n, codes) of prompts' offsets and codes."""
        return F.normalize(offsets * self.scale, dim=-1) @ F.normalize(self.codes * self.scale, dim=-1).T

    def logits(self) -> Tensor:
        """Return the gate logits (codes, length) of all experts."""
        return self.start + self.codes

    @torch.no_grad()
    def route(self, embeddings: Tensor) -> Tensor:
        """Return the expert (n,) of each prompt: the nearest code."""
        return self.similarity(self.offsets(self.read(embeddings))).argmax(1)


@torch.no_grad()
def sinkhorn(similarity: Tensor, epsilon: float = EPSILON, tolerance: float = BALANCED, limit: int = 5000) -> Tensor:
    """Return the assignment Q (n, codes) with rows that sum to 1 and columns that sum to n / codes.

    It maximises <Q, similarity> + epsilon H(Q) by Sinkhorn and Knopp's turns, in logarithms, until all sums are within
    `tolerance` (APTP stops after three turns), or after `limit` turns with what the columns have come to by then; rows
    are right after each. Source: Cuturi 2013; Caron et al. 2020 (arXiv 2006.09882).
    """
    log: Any = similarity.double() / epsilon
    column = torch.tensor(similarity.shape[0] / similarity.shape[1], dtype=torch.float64).log()
    for _ in range(limit):
        log = log - log.logsumexp(0, keepdim=True) + column
        rows = log.logsumexp(1, keepdim=True)
        log = log - rows
        if float((log.logsumexp(0).exp() - column.exp()).abs().max()) < tolerance:
            break
    return log.exp().to(similarity.dtype)


def _orthogonal(rows: int, columns: int, source: torch.Generator) -> Tensor:
    return nn.init.orthogonal_(torch.empty(rows, columns), generator=source)
