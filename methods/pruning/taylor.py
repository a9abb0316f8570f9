"""Taylor pruning: scores elements by the first-order change of the diffusion loss when they are removed.

The score of an element is |sum of w dL/dw| over its weights w, where L is the diffusion loss over images and evenly
spaced timesteps. Timesteps with a small loss are left out, because they carry little information. Source: SPDM, Fang et
al. 2023 (arXiv 2305.10924).
"""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from methods.costs import CALIBRATION_IMAGES
from methods.pruning.architecture import Architecture, gates
from methods.pruning.magnitude import elements, relative
from methods.pruning.pictures import Pictures
from methods.pruning.threshold import check_fraction, keep_best
from methods.training import losses
from methods.training.accumulation import Gradients, Task
from methods.training.batches import Batch, generator

TIMES, BATCH, SEED = 16, CALIBRATION_IMAGES["taylor"] // 16, 0
"""Number of timesteps, images per timestep, and seed of the noise."""
LITTLE = 0.05
"""A timestep is used if its loss is at least this share of the largest loss so far."""


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int, pictures: Pictures
) -> tuple[UNet2DConditionModel, Architecture]:
    """Keeps the norm groups, heads and hidden units that affect the diffusion loss most (SPDM, first order).

    Returns:
        A smaller dense copy of `unet`, and its architecture.

    Raises:
        BudgetError: `macs` is not a fraction, or is below the smallest reachable one, which the message states.
        TrainingError: the gradient for one image does not fit in the device's memory.
    """
    check_fraction(macs)
    required_grad = {name: weight.requires_grad for name, weight in unet.named_parameters()}
    unet.requires_grad_(True)
    try:
        _accumulate(unet, pictures)
        scores = {}
        for name, module in gates(unet).items():
            products = elements(module, lambda weight: (weight * weight.grad).detach().double())
            scores[name] = relative(torch.stack([tensor.sum(1).cpu() for tensor in products]).sum(0).abs())
    finally:
        unet.zero_grad(set_to_none=True)
        unet.disable_gradient_checkpointing()
        for name, weight in unet.named_parameters():
            weight.requires_grad_(required_grad[name])
    return keep_best(unet, scores, macs, latent_size, text_length)


def _accumulate(unet: UNet2DConditionModel, pictures: Pictures) -> None:
    """Set the gradients of the weights to the sum of the gradients of the loss over all timesteps that are used.

    A batch of images that does not fit in memory is split, as in a training step.
    """
    process = losses.Process(pictures.scheduler)
    gradients, sums = Gradients(unet, 1, lambda message: None), dict[str, Tensor]()
    largest = 0.0

    def loss(network: UNet2DConditionModel, batch: Batch) -> losses.Loss:
        prediction = losses.predict(network, process.noisy(batch), batch.t, batch.text)
        return F.mse_loss(prediction, process.target(batch)), {}

    task = Task(name="taylor", loss=loss)
    for k, time in enumerate(torch.linspace(0, process.timesteps - 1, TIMES).long()):
        source = generator(SEED, "taylor", k)
        chosen = torch.randint(len(pictures.data), (BATCH,), generator=source)
        x0, text = (part.to(unet.device) for part in pictures.data.batch(chosen))
        noise = torch.randn(x0.shape, generator=source).to(x0)
        batch = Batch(x0=x0, text=text, noise=noise, t=time.expand(BATCH).to(x0.device))
        value = float(gradients.add(task, [batch], nullcontext)[0])
        largest = max(largest, value)
        for name, weight in unet.named_parameters():
            if weight.grad is not None and value >= LITTLE * largest:
                sums[name] = sums[name].add_(weight.grad) if name in sums else weight.grad
        unet.zero_grad(set_to_none=True)
    for name, weight in unet.named_parameters():
        weight.grad = sums.get(name)
