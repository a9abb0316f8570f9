"""Eq. 8 and negative guidance, written slowly from the paper: one image at a time, noise levels and blocks by hand."""

from typing import Any

import torch
from torch import Tensor


def noise_level(scheduler: dict[str, Any], t: int) -> tuple[float, float]:
    """alpha_t and sigma_t of the scaled-linear schedule."""
    product = 1.0
    first, last, steps = scheduler["beta_start"] ** 0.5, scheduler["beta_end"] ** 0.5, scheduler["num_train_timesteps"]
    for step in range(t + 1):
        product *= 1 - (first + (last - first) * step / (steps - 1)) ** 2
    return product**0.5, (1 - product) ** 0.5


def min_snr(alpha: float, sigma: float, gamma: float, prediction: str, weighting: str) -> float:
    snr = (alpha / sigma) ** 2
    if prediction == "epsilon":
        return min(snr, gamma) / snr
    if prediction == "sample":
        return min(snr, gamma)
    return min(snr + 1, gamma) / (snr + 1) if weighting == "shifted" else min(snr, gamma) / (snr + 1)


def target(x0: Tensor, noise: Tensor, alpha: float, sigma: float, prediction: str) -> Tensor:
    return {"epsilon": noise, "sample": x0, "v_prediction": alpha * noise - sigma * x0}[prediction]


def to_epsilon(answer: Tensor, x_t: Tensor, alpha: float, sigma: float, prediction: str) -> Tensor:
    if prediction == "v_prediction":
        return alpha * answer + sigma * x_t
    return answer if prediction == "epsilon" else (x_t - alpha * answer) / sigma


def from_epsilon(epsilon: Tensor, x_t: Tensor, alpha: float, sigma: float, prediction: str) -> Tensor:
    if prediction == "v_prediction":
        return (epsilon - sigma * x_t) / alpha
    return epsilon if prediction == "epsilon" else (x_t - sigma * epsilon) / alpha


def hidden(unet: Any, x: Tensor, t: Tensor, text: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Run a U-Net's blocks by hand: the prediction and the nine (or fewer) block outputs, without hooks."""
    emb = unet.time_embedding(unet.time_proj(t).to(x.dtype))
    x = unet.conv_in(x)
    skips, maps = [x], []
    for block in unet.down_blocks:
        states = {"encoder_hidden_states": text} if hasattr(block, "attentions") else {}
        x, more = block(x, emb, **states)
        skips += more
        maps.append(x)
    x = unet.mid_block(x, emb, encoder_hidden_states=text)
    maps.append(x)
    for block in unet.up_blocks:
        states = {"encoder_hidden_states": text} if hasattr(block, "attentions") else {}
        count = len(block.resnets)
        x = block(x, tuple(skips[-count:]), emb, **states)
        skips = skips[:-count]
        maps.append(x)
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(x))), maps


def eq8(
    student: Any, teacher: Any, x0: Tensor, noise: Tensor, t: Tensor, text: Tensor, scheduler: dict[str, Any],
    weights: tuple[float, float, float], gamma: float, weighting: str, features: str,
) -> float:  # fmt: skip
    """Eq. 8 as the mean over images of each term."""
    total = 0.0
    for i in range(len(x0)):
        alpha, sigma = noise_level(scheduler, int(t[i]))
        kind = scheduler["prediction_type"]
        x_t = (alpha * x0[i] + sigma * noise[i])[None]
        with torch.no_grad():
            ours, our_maps = hidden(student, x_t, t[i : i + 1], text[i : i + 1])
            theirs, their_maps = hidden(teacher, x_t, t[i : i + 1], text[i : i + 1])
        wanted = target(x0[i], noise[i], alpha, sigma, kind)
        diffusion = min_snr(alpha, sigma, gamma, kind, weighting) * float(((ours[0] - wanted) ** 2).mean())
        output = float(((ours - theirs) ** 2).mean())
        distances = [float(((a - b) ** 2).mean()) for a, b in zip(our_maps, their_maps, strict=True)]
        feature = sum(distances) / (len(distances) if features == "mean" else 1)
        total += weights[0] * diffusion + weights[1] * output + weights[2] * feature
    return total / len(x0)
