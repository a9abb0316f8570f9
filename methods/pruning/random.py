"""Random pruning to a MAC budget: the control for all methods that choose what to keep."""

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from methods.pruning.architecture import Architecture, gates, width
from methods.pruning.threshold import keep_best

SEED = 0


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int, seed: int = SEED
) -> tuple[UNet2DConditionModel, Architecture]:
    """Keeps about the same share of every layer, chosen at random, as a control.

    The MACs are as near to the requested fraction as whole elements allow. No module is dropped, as in the control of
    the paper's authors.

    Returns:
        A smaller dense copy of `unet`, and its architecture.

    Raises:
        BudgetError: `macs` is not a fraction, or is below the smallest reachable one, which the message states.
    """
    source = torch.Generator().manual_seed(seed)
    scores = {}
    for name, module in gates(unet).items():
        size = width(module)
        # Scores are shuffled ranks, so that all gates lose the same share of elements. Noise below 1 is added, so that
        # gates do not all lose an element at the same threshold.
        ranks = torch.randperm(size, generator=source) + torch.rand(size, generator=source, dtype=torch.float64)
        scores[name] = ranks / size
    return keep_best(unet, scores, macs, latent_size, text_length)
