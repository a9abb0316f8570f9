"""Losses of the search beyond those of the U-Net: what is alike, what may be spent, where prompts go."""

import torch
import torch.nn.functional as F
from torch import Tensor

CONTRAST, ROUTING = 0.03, 0.1
"""Temperatures."""


def contrastive(offsets: Tensor, read: Tensor, temperature: float = CONTRAST) -> Tensor:
    """Cross-entropy (binary, mean over pairs) of who is like whom, by architectures (n, L) and by prompts (n, d).

    In logarithms throughout: a bound on small shares would take the gradient from prompts that are alike and have
    architectures that are not, whose share is a millionth.
    Source: APTP's contrastive loss: prompts that are alike are to get architectures that are alike.
    """
    scores, theirs = _cosines(offsets) / temperature, F.softmax(_cosines(read) / temperature, dim=1).detach()
    itself = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    others = scores[:, None].masked_fill(itself, -torch.inf).logsumexp(2)  # (n, n): all but the one in question
    total = scores.logsumexp(1, keepdim=True)
    return -(theirs * (scores - total) + (1 - theirs) * (others - total)).mean()


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
