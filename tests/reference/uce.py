"""UCE's update of one matrix, term by term with plain outer products, as its formula is printed."""

import torch


def updated(weight, moved, guides, kept, erase, keep, lamb):
    """W' = (lambda W + s_e sum W g c' + s_p sum W p p') (lambda I + s_e sum c c' + s_p sum p p')^-1, row by row."""
    weight = weight.double()
    eye = torch.eye(weight.shape[1], dtype=torch.float64)
    left, right = lamb * weight, lamb * eye
    for c, g in zip(moved, guides, strict=True):
        left = left + erase * torch.outer(weight @ g, c)
        right = right + erase * torch.outer(c, c)
    for p in kept:
        left = left + keep * torch.outer(weight @ p, p)
        right = right + keep * torch.outer(p, p)
    return left @ torch.inverse(right)
