"""Taylor pruning: what the diffusion loss would lose, to first order, if an element went (Fang et al. 2023, SPDM).

An element's score is |sum of w dL/dw| over its weights, L being the diffusion loss over pictures and evenly spaced
timesteps (arXiv 2305.10924). Timesteps at which little is lost say little: they are left out.
"""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from methods.pruning.architecture import Architecture, gates
from methods.pruning.magnitude import elements, relative
from methods.pruning.pictures import Pictures
from methods.pruning.threshold import check_fraction, keep_best
from methods.training import losses
from methods.training.accumulation import Gradients, Task
from methods.training.batches import Batch, generator

TIMES, BATCH, SEED = 16, 16, 0
"""Timesteps, pictures at each of them, and the seed of the noise."""
LITTLE = 0.05
"""A timestep counts if its loss is at least this share of the largest up to it."""


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int, pictures: Pictures
) -> tuple[UNet2DConditionModel, Architecture]:
    """Norm groups, heads and hidden units that the diffusion loss feels most stay (SPDM, first order).

    Return a smaller dense copy of `unet`, and what it kept.

    Raises:
        BudgetError: `macs` is not a fraction, or less than cutting inner widths can reach (the least is named).
        TrainingError: the device's memory does not hold a picture's gradient.
    """
    check_fraction(macs)
    learnt = {name: weight.requires_grad for name, weight in unet.named_parameters()}
    unet.requires_grad_(True)
    try:
        _accumulate(unet, pictures)
        scores = {}
        for name, module in gates(unet).items():
            found = elements(module, lambda weight: (weight * weight.grad).detach().double())
            scores[name] = relative(torch.stack([products.sum(1).cpu() for products in found]).sum(0).abs())
    finally:
        unet.zero_grad(set_to_none=True)
        unet.disable_gradient_checkpointing()
        for name, weight in unet.named_parameters():
            weight.requires_grad_(learnt[name])
    return keep_best(unet, scores, macs, latent_size, text_length)


def _accumulate(unet: UNet2DConditionModel, pictures: Pictures) -> None:
    """Leave the sum of the loss's gradients, over all timesteps that count, as the gradient of the weights.

    Pictures that memory does not hold together are taken in parts, as those of a training step are.
    """
    process = losses.Process(pictures.scheduler)
    gradients, sums = Gradients(unet, 1, lambda said: None), dict[str, Tensor]()
    largest = 0.0

    def loss(network: UNet2DConditionModel, draw: Batch) -> losses.Loss:
        answer = losses.predict(network, process.noisy(draw), draw.t, draw.text)
        return F.mse_loss(answer, process.target(draw)), {}

    lost = Task(name="taylor", loss=loss)
    for k, time in enumerate(torch.linspace(0, process.timesteps - 1, TIMES).long()):
        source = generator(SEED, "taylor", k)
        chosen = torch.randint(len(pictures.data), (BATCH,), generator=source)
        x0, text = (part.to(unet.device) for part in pictures.data.batch(chosen))
        noise = torch.randn(x0.shape, generator=source).to(x0)
        draw = Batch(x0=x0, text=text, noise=noise, t=time.expand(BATCH).to(x0.device))
        much = float(gradients.add(lost, [draw], nullcontext)[0])
        largest = max(largest, much)
        for name, weight in unet.named_parameters():
            if weight.grad is not None and much >= LITTLE * largest:
                sums[name] = sums[name].add_(weight.grad) if name in sums else weight.grad
        unet.zero_grad(set_to_none=True)
    for name, weight in unet.named_parameters():
        weight.grad = sums.get(name)
