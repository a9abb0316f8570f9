"""Random pruning to a MAC budget: the control for every informed choice of what to keep."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from methods.pruning.architecture import Architecture, gates, width
from methods.pruning.threshold import keep_best

SEED = 0


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int, seed: int = SEED
) -> tuple[UNet2DConditionModel, Architecture]:
    """Keeps about the same share of every layer, chosen at random from `seed`: the control.

    MACs come as near to the requested fraction as whole elements allow. No module is dropped, as in the authors' own
    control.

    Returns:
        A smaller dense copy of `unet`, and its architecture.

    Raises:
        BudgetError: `macs` is not a fraction, or is below the least that can be reached, which is named.
    """
    source = torch.Generator().manual_seed(seed)
    scores = {}
    for name, module in gates(unet).items():
        size = width(module)
        # Shuffled ranks, so that all gates shrink by the same share; plus noise below 1, so that they do not all shrink
        # at the same threshold.
        ranks = torch.randperm(size, generator=source) + torch.rand(size, generator=source, dtype=torch.float64)
        scores[name] = ranks / size
    return keep_best(unet, scores, macs, latent_size, text_length)
