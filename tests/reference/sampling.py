"""PLMS and DDIM with classifier-free guidance, from the papers (arXiv 2202.09778, 2010.02502), one image at a time."""

from collections.abc import Callable

import torch
from torch import Tensor


def signal(beta_start: float, beta_end: float, steps: int) -> list[float]:
    products, product = [], 1.0
    for i in range(steps):
        product *= 1 - (beta_start**0.5 + (beta_end**0.5 - beta_start**0.5) * i / (steps - 1)) ** 2
        products.append(product)
    return products


def jump(x: Tensor, epsilon: Tensor, a: float, b: float) -> Tensor:
    """Move from signal level a to b along epsilon (DDIM, eta 0)."""
    x0 = (x - (1 - a) ** 0.5 * epsilon) / a**0.5
    return b**0.5 * x0 + (1 - b) ** 0.5 * epsilon


def sample(
    velocity: Callable[[Tensor, int], tuple[Tensor, Tensor]],
    noise: Tensor,
    levels: list[float],
    steps: int,
    guidance: float,
    multistep: bool,
) -> Tensor:
    """`velocity` gives (unconditional, conditional) v for one image; leading timesteps, offset 1."""
    ratio = len(levels) // steps
    times = [i * ratio + 1 for i in range(steps)][::-1]

    def guided(x: Tensor, t: int) -> Tensor:
        empty, caption = velocity(x, t)
        return empty + guidance * (caption - empty)

    def move(x: Tensor, v: Tensor, t: int) -> Tensor:
        a, b = levels[t], levels[t - ratio] if t >= ratio else levels[0]
        return jump(x, a**0.5 * v + (1 - a) ** 0.5 * x, a, b)

    x, past = noise.double(), []
    for index, t in enumerate(times):
        v = guided(x, t)
        if not multistep:
            x = move(x, v, t)
        elif index == 0:
            # Heun's first step: look ahead, then go with the mean of both slopes.
            ahead = move(x, v, t)
            x = move(x, (v + guided(ahead, t - ratio)) / 2, t)
            past = [v]
        else:
            past = [*past, v]
            weights = {2: (3, -1), 3: (23, -16, 5)}.get(len(past), (55, -59, 37, -9))
            slopes = past[-len(weights) :][::-1]
            x = move(x, torch.stack([w * s for w, s in zip(weights, slopes, strict=True)]).sum(0) / sum(weights), t)
    return x
