"""Prompt router of APTP: architecture predictor, codes of the experts, and assignment of prompts to codes.

A vector of gate logits is the sum of `start`, which all experts share, and an offset. The offset is the code of an
expert, or the predictor's output for a prompt. Prompts and codes are compared by the cosine of their offsets. `start`
is left out, because a budget shifts all gates together and would make all vectors similar. During training, the
assignment is balanced by optimal transport; otherwise one code would get all prompts. After training, each prompt is
assigned to the nearest code.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.pruning.vector import Layout

EPSILON = 0.05
"""Weight of the entropy in the optimal transport, as in APTP."""
BALANCED = 1e-3
"""Default tolerance of `sinkhorn`: largest error of a column sum."""


class Router(nn.Module):
    """Holds the gate logits of all experts, and a linear predictor from sentence embeddings to gate logits.

    Args:
        layout: layout of the architecture vectors.
        codes: number of experts.
        dimension: width d of sentence embeddings.
        mean: mean sentence embedding (d,) over the training prompts.
        source: generator of the initial weights.
    """

    def __init__(self, layout: Layout, codes: int, dimension: int, mean: Tensor, source: torch.Generator) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(layout.length))
        self.codes = nn.Parameter(_orthogonal(codes, layout.length, source))
        self.predictor = nn.Parameter(_orthogonal(dimension, layout.length, source))
        self.mean: Tensor
        self.register_buffer("mean", mean.clone())
        self.scale: Tensor
        widths = [torch.full((count,), count**-0.5) for count in layout.widths.values()]
        # Gives every gate the same weight in cosines, independently of its width (APTP's width-depth normalisation).
        self.register_buffer("scale", torch.cat([*widths, torch.ones(len(layout.depths))]), persistent=False)

    def read(self, embeddings: Tensor) -> Tensor:
        """Return embeddings (n, d) minus their mean over prompts, scaled to length 1."""
        return F.normalize(embeddings - self.mean, dim=-1)

    def offsets(self, read: Tensor) -> Tensor:
        """Return the predictor's offsets (n, length) of the gate logits."""
        return read @ self.predictor

    def similarity(self, offsets: Tensor) -> Tensor:
        """Return the cosines (n, codes) between the offsets of prompts and the codes."""
        return F.normalize(offsets * self.scale, dim=-1) @ F.normalize(self.codes * self.scale, dim=-1).T

    def logits(self) -> Tensor:
        """Return the gate logits (codes, length) of all experts."""
        return self.start + self.codes

    @torch.no_grad()
    def route(self, embeddings: Tensor) -> Tensor:
        """Return the expert number (n,) of the nearest code for each sentence embedding (n, d)."""
        return self.similarity(self.offsets(self.read(embeddings))).argmax(1)


@torch.no_grad()
def sinkhorn(similarity: Tensor, epsilon: float = EPSILON, tolerance: float = BALANCED, limit: int = 5000) -> Tensor:
    """Return the balanced assignment Q (n, codes): rows sum to 1, and columns sum to n / codes.

    Q maximises <Q, similarity> + epsilon H(Q), where H is the entropy. It is computed by Sinkhorn-Knopp iterations on
    logarithms. Rows sum to 1 after each iteration; column sums may still be off if the limit is reached. Source: Cuturi
    2013; Caron et al. 2020 (arXiv 2006.09882).

    Args:
        similarity: similarities (n, codes) of prompts and codes.
        epsilon: weight of the entropy.
        tolerance: iteration stops when all column sums are within this distance of n / codes.
        limit: largest number of iterations (APTP uses three).
    """
    log: Any = similarity.double() / epsilon
    column = torch.tensor(similarity.shape[0] / similarity.shape[1], dtype=torch.float64).log()
    for _ in range(limit):
        log = log - log.logsumexp(0, keepdim=True) + column
        rows = log.logsumexp(1, keepdim=True)
        log = log - rows
        if float((log.logsumexp(0).exp() - column.exp()).abs().max()) < tolerance:
            break
    assignment: Tensor = log.exp().to(similarity.dtype)
    return assignment


def _orthogonal(rows: int, columns: int, source: torch.Generator) -> Tensor:
    return nn.init.orthogonal_(torch.empty(rows, columns), generator=source)
