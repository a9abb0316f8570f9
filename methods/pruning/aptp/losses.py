"""Losses of the search beyond those of the U-Net: what is alike, what may be spent, where prompts go."""

import torch
import torch.nn.functional as F
from torch import Tensor

CONTRAST, ROUTING = 0.03, 0.1
"""Temperatures."""


def contrastive(offsets: Tensor, read: Tensor, temperature: float = CONTRAST) -> Tensor:
    """Cross-entropy (binary, mean over pairs) of who is like whom, by architectures (n, L) and by prompts (n, d).

    Source: APTP's contrastive loss: prompts that are alike are to get architectures that are alike.
    """
    ours, theirs = (F.softmax(_cosines(x) / temperature, dim=1) for x in (offsets, read))
    return F.binary_cross_entropy(ours.clamp(1e-7, 1 - 1e-7), theirs.detach())


def resource(shares: Tensor, budgets: Tensor) -> Tensor:
    """Mean of |log(share / budget)| over a batch; shares (n,) of the base's MACs, budgets (n,) or ()."""
    return (shares / budgets).log().abs().mean()


def routing(similarity: Tensor, assignment: Tensor, temperature: float = ROUTING) -> Tensor:
    """Cross-entropy of the nearest code (n, codes) against the balanced assignment (n, codes).

    Ours, after SwAV (arXiv 2006.09882): without it the codes that prompts are nearest to are not those that they were
    assigned to in training, and few of them may be used.
    """
    return -(assignment * F.log_softmax(similarity / temperature, dim=1)).sum(1).mean()


def _cosines(x: Tensor) -> Tensor:
    unit = F.normalize(x, dim=-1)
    return torch.matmul(unit, unit.T)
