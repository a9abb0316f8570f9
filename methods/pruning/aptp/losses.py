"""Losses of the APTP search in addition to the distillation loss: contrastive, resource and routing loss."""

import torch
import torch.nn.functional as F
from torch import Tensor

CONTRAST, ROUTING = 0.03, 0.1
"""Default temperatures of the contrastive and the routing loss."""


def contrastive(offsets: Tensor, read: Tensor, temperature: float = CONTRAST) -> Tensor:
    """Return APTP's contrastive loss, which gives similar prompts similar architectures.

    It is the binary cross-entropy between the similarities of architectures and those of prompts, averaged over all
    pairs. Similarities are softmaxes of cosines. The loss is computed from logarithms of probabilities: clamping small
    similarities would remove the gradient for similar prompts with different architectures, whose similarity is about
    1e-6.

    Args:
        offsets: offsets (n, L) of the architectures, see `Router`.
        read: prompt embeddings (n, d).
        temperature: temperature of both softmaxes.
    """
    scores, targets = _cosines(offsets) / temperature, F.softmax(_cosines(read) / temperature, dim=1).detach()
    diagonal = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    others = scores[:, None].masked_fill(diagonal, -torch.inf).logsumexp(2)  # (n, n): entry j sums all but column j
    total = scores.logsumexp(1, keepdim=True)
    return -(targets * (scores - total) + (1 - targets) * (others - total)).mean()


def resource(shares: Tensor, budgets: Tensor) -> Tensor:
    """Return the resource loss: the mean of |log(share / budget)| over a batch.

    Args:
        shares: shares (n,) of the base's MACs.
        budgets: budgets (n,) or (), in the same unit.
    """
    return (shares / budgets).log().abs().mean()


def routing(similarity: Tensor, assignment: Tensor, temperature: float = ROUTING) -> Tensor:
    """Return the routing loss: the cross-entropy between the softmax of similarities and the balanced assignment.

    This loss is not part of APTP; it follows SwAV (arXiv 2006.09882). Without it, the nearest code of a prompt may
    differ from the code that the prompt was assigned to in training, and only a few codes may be used.

    Args:
        similarity: similarities (n, codes) of prompts and codes.
        assignment: balanced assignment (n, codes) from `sinkhorn`.
        temperature: temperature of the softmax.
    """
    return -(assignment * F.log_softmax(similarity / temperature, dim=1)).sum(1).mean()


def _cosines(x: Tensor) -> Tensor:
    unit = F.normalize(x, dim=-1)
    return torch.matmul(unit, unit.T)
