"""Random pruning to a MAC budget: the control that any choice of what to keep must beat."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from methods.pruning.architecture import Architecture, gates, width
from methods.pruning.threshold import keep_best

SEED = 0


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int, seed: int = SEED
) -> tuple[UNet2DConditionModel, Architecture]:
    """The control: about the same share of every layer stays, drawn from `seed`.

    Return a smaller dense copy of `unet`, and what it kept.

    MACs come as near to the asked fraction as whole elements allow; all depth stays, as in the authors' own control.

    Raises:
        BudgetError: `macs` is not a fraction, or less than cutting inner widths can reach (the least is named).
    """
    source = torch.Generator().manual_seed(seed)
    scores = {}
    for name, module in gates(unet).items():
        size = width(module)
        # A shuffled rank, so that gates shrink alike; and less than a rank of noise, so that they do so one at a time.
        ranks = torch.randperm(size, generator=source) + torch.rand(size, generator=source, dtype=torch.float64)
        scores[name] = ranks / size
    return keep_best(unet, scores, macs, latent_size, text_length)
