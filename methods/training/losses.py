"""Losses over a batch: distillation (Eq. 8 of the paper, lower level) and unlearning (upper level).

The prediction type (v, epsilon or x0) comes from the scheduler config. Losses do not depend on the network or the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn

from benchmark.errors import UsageError
from benchmark.json_types import NetworkConfig
from methods.training.batches import Batch
from methods.training.negative_guidance import negative_guidance

LossValues = dict[str, Tensor]
Loss = tuple[Tensor, LossValues]
"""The scalar loss to minimise, and detached scalars to log."""
Weighting = Literal["shifted", "diffusers"]


class Process:
    """Forward diffusion process x_t = sqrt(a_t) x0 + sqrt(1 - a_t) noise, and the prediction target of the network."""

    def __init__(self, config: NetworkConfig) -> None:
        self.scheduler = DDPMScheduler.from_config(config)
        self.timesteps: int = self.scheduler.config.num_train_timesteps
        self.prediction: str = self.scheduler.config.prediction_type
        if self.prediction not in ("v_prediction", "epsilon", "sample"):
            raise UsageError(
                f"Unknown prediction_type '{self.prediction}' in the scheduler's config: "
                "it must be v_prediction, epsilon or sample."
            )

    def noisy(self, batch: Batch) -> Tensor:
        """Return x_t, shaped like x0."""
        noisy: Tensor = self.scheduler.add_noise(batch.x0, batch.noise, batch.t)
        return noisy

    def target(self, batch: Batch) -> Tensor:
        """Return the prediction target (v, noise or x0) for x_t, shaped like x0."""
        if self.prediction == "v_prediction":
            velocity: Tensor = self.scheduler.get_velocity(batch.x0, batch.noise, batch.t)
            return velocity
        return batch.noise if self.prediction == "epsilon" else batch.x0

    def snr(self, t: Tensor) -> Tensor:
        """Return the signal-to-noise ratio a_t / (1 - a_t), shaped like t."""
        signal: Tensor = self.scheduler.alphas_cumprod.to(t.device)[t]
        return signal / (1 - signal)

    def min_snr(self, t: Tensor, gamma: float, weighting: Weighting) -> Tensor:
        """Return min-SNR loss weights (Hang et al. 2023, arXiv 2303.09556) for the prediction type, shaped like t.

        Let s be the signal-to-noise ratio. For v, the weight is min(s + 1, gamma) / (s + 1) with "shifted", as in the
        code of Shirkavand et al., which is 1 at pure noise; and min(s, gamma) / (s + 1) with "diffusers", which is 0
        at pure noise. For epsilon the weight is min(1, gamma / s), and for x0 min(s, gamma), with both.
        """
        snr = self.snr(t)
        if self.prediction == "sample":
            return snr.clamp(max=gamma)
        if self.prediction == "epsilon":
            return (gamma / snr).clamp(max=1)
        return ((snr + 1) if weighting == "shifted" else snr).clamp(max=gamma) / (snr + 1)


@dataclass(frozen=True)
class Weights:
    """Coefficients of Eq. 8. Defaults are from the paper (App. C), except that features are averaged as in its code."""

    diffusion: float = 1.0
    output: float = 2.0
    feature: float = 0.1
    gamma: float = 5.0
    weighting: Weighting = "shifted"
    features: Literal["mean", "sum"] = "mean"


def blocks(unet: nn.Module) -> list[nn.Module]:
    """Return all down blocks, the mid block and all up blocks, in the order of the forward pass."""
    plain: Any = unet
    return [*plain.down_blocks, plain.mid_block, *plain.up_blocks]


@contextmanager
def feature_maps(unet: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the outputs of all `blocks` inside the context. Down blocks output their features after downsampling."""
    maps: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        maps.append(output[0] if isinstance(output, tuple) else output)

    hooks = [block.register_forward_hook(keep) for block in blocks(unet)]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


def predict(unet: nn.Module, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """Return the prediction (n, C, h, w) of a diffusers U-Net for noisy latents `x` at timesteps `t` (n,)."""
    prediction: Tensor = unet(x, t, encoder_hidden_states=text, return_dict=False)[0]
    return prediction


def distillation_loss(
    student: nn.Module, teacher: UNet2DConditionModel, process: Process, batch: Batch, weights: Weights
) -> Loss:
    """Return the distillation loss, Eq. 8: w_D diffusion (min-SNR) + w_O output + w_F feature distillation.

    Each call runs one forward pass of the teacher. Feature maps have the same shapes in both networks, because pruning
    cuts only inner widths.

    Args:
        student: the network that is trained.
        teacher: the frozen network.
        process: forward process, which gives x_t and the prediction target.
        batch: latents, texts, noise and timesteps.
        weights: coefficients of the terms.

    Returns:
        The scalar loss, and the detached terms "diffusion", "output" and "feature".
    """
    x_t, target = process.noisy(batch), process.target(batch)
    with torch.no_grad(), feature_maps(teacher) as teacher_maps:
        teacher_prediction = predict(teacher, x_t, batch.t, batch.text)
    with feature_maps(student) as maps:
        prediction = predict(student, x_t, batch.t, batch.text)
    errors = F.mse_loss(prediction.float(), target.float(), reduction="none").flatten(1).mean(1)
    diffusion = (process.min_snr(batch.t, weights.gamma, weights.weighting) * errors).mean()
    output = F.mse_loss(prediction.float(), teacher_prediction.float())
    pairs = zip(maps, teacher_maps, strict=True)
    distances = torch.stack(
        [F.mse_loss(student_map.float(), teacher_map.float()) for student_map, teacher_map in pairs]
    )
    feature = distances.mean() if weights.features == "mean" else distances.sum()
    loss = weights.diffusion * diffusion + weights.output * output + weights.feature * feature
    return loss, {"diffusion": diffusion.detach(), "output": output.detach(), "feature": feature.detach()}


def unlearning(
    student: nn.Module,
    teacher: UNet2DConditionModel,
    x_t: Tensor,
    t: Tensor,
    text: Tensor,
    teacher_texts: Mapping[str, Tensor],
    target: Callable[[Mapping[str, Tensor]], Tensor],
) -> Loss:
    """Return the mean squared error between the student's prediction and a target computed from teacher predictions.

    The teacher predicts for all texts in a single forward pass.

    Args:
        student: the network that is trained.
        teacher: the frozen network.
        x_t: noisy latents (n, C, h, w).
        t: timesteps (n,).
        text: hidden states (n, L, D) of the student's text.
        teacher_texts: hidden states (L, D) or (n, L, D) of the teacher's texts, by name.
        target: computes the target from the teacher's predictions, which it gets by name.
    """
    with torch.no_grad():
        states = torch.cat([state.to(text).expand_as(text) for state in teacher_texts.values()])
        count = len(teacher_texts)
        predictions = predict(teacher, x_t.repeat(count, 1, 1, 1), t.repeat(count), states).float().chunk(count)
        target_prediction = target(dict(zip(teacher_texts, predictions, strict=True)))
    loss = F.mse_loss(predict(student, x_t, t, text).float(), target_prediction.float())
    return loss, {"unlearning": loss.detach()}


def negative_guidance_loss(
    student: nn.Module, teacher: UNet2DConditionModel, x_t: Tensor, t: Tensor, text: Tensor, null: Tensor, eta: float
) -> Loss:
    """Return the loss `unlearning` with negative guidance as target.

    Args:
        student: the network that is trained.
        teacher: the frozen network.
        x_t: noisy latents (n, C, h, w).
        t: timesteps (n,).
        text: hidden states (n, L, D) of the text to unlearn.
        null: hidden states (L, D) of the empty prompt.
        eta: strength of negative guidance.
    """

    def target(answers: Mapping[str, Tensor]) -> Tensor:
        return negative_guidance(answers["text"], answers["null"], eta)

    return unlearning(student, teacher, x_t, t, text, {"text": text, "null": null}, target)
