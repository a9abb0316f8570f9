"""Losses over a batch: Eq. 8 of the paper (lower level) and unlearning (upper level).

The prediction type (v, epsilon or x0) comes from the scheduler's config; no loss knows which network or data it sees.
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
from methods.training.batches import Batch
from methods.training.negative_guidance import negative_guidance

Figures = dict[str, Tensor]
Loss = tuple[Tensor, Figures]
"""The scalar to go down, and detached scalars worth showing."""
Weighting = Literal["shifted", "diffusers"]


class Process:
    """The forward process x_t = sqrt(a_t) x0 + sqrt(1 - a_t) noise, and what the network is asked to predict."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.scheduler = DDPMScheduler.from_config(config)
        self.timesteps: int = self.scheduler.config.num_train_timesteps
        self.prediction: str = self.scheduler.config.prediction_type
        if self.prediction not in ("v_prediction", "epsilon", "sample"):
            raise UsageError(
                f"Unknown prediction_type '{self.prediction}' in the scheduler's config: "
                "it must be v_prediction, epsilon or sample."
            )

    def noisy(self, draw: Batch) -> Tensor:
        """Return x_t, shaped like x0."""
        return self.scheduler.add_noise(draw.x0, draw.noise, draw.t)

    def target(self, draw: Batch) -> Tensor:
        """Return what a perfect network would answer for x_t, shaped like x0."""
        if self.prediction == "v_prediction":
            return self.scheduler.get_velocity(draw.x0, draw.noise, draw.t)
        return draw.noise if self.prediction == "epsilon" else draw.x0

    def snr(self, t: Tensor) -> Tensor:
        """Return a_t / (1 - a_t), shaped like t."""
        signal = self.scheduler.alphas_cumprod.to(t.device)[t]
        return signal / (1 - signal)

    def min_snr(self, t: Tensor, gamma: float, weighting: Weighting) -> Tensor:
        """Min-SNR weights (Hang et al. 2023, arXiv 2303.09556) in the space of the prediction, shaped like t.

        For v, "shifted" is min(s + 1, gamma) / (s + 1), which keeps weight 1 at pure noise as the authors' code does;
        "diffusers" is min(s, gamma) / (s + 1), which goes to 0 there. For epsilon and x0 the two are the same.
        """
        snr = self.snr(t)
        if self.prediction == "sample":
            return snr.clamp(max=gamma)
        if self.prediction == "epsilon":
            return (gamma / snr).clamp(max=1)
        return ((snr + 1) if weighting == "shifted" else snr).clamp(max=gamma) / (snr + 1)


@dataclass(frozen=True)
class Weights:
    """Coefficients of Eq. 8; the defaults are the paper's (App. C), features averaged as in the authors' code."""

    diffusion: float = 1.0
    output: float = 2.0
    feature: float = 0.1
    gamma: float = 5.0
    weighting: Weighting = "shifted"
    features: Literal["mean", "sum"] = "mean"


def blocks(unet: nn.Module) -> list[nn.Module]:
    """Return every down block, the mid block and every up block, in the order in which they run."""
    plain: Any = unet
    return [*plain.down_blocks, plain.mid_block, *plain.up_blocks]


@contextmanager
def feature_maps(unet: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the output of each of `blocks` (a down block's is taken after its downsampler) while inside."""
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
    """Call a diffusers U-Net and return its prediction."""
    return unet(x, t, encoder_hidden_states=text, return_dict=False)[0]


def distillation_loss(
    student: nn.Module, teacher: UNet2DConditionModel, process: Process, draw: Batch, weights: Weights
) -> Loss:
    """Eq. 8: w_D diffusion (min-SNR) + w_O output distillation + w_F feature distillation; one teacher forward.

    Feature maps have the same shapes in both networks, because pruning cuts inner widths alone.
    """
    x_t, target = process.noisy(draw), process.target(draw)
    with torch.no_grad(), feature_maps(teacher) as wanted:
        answer = predict(teacher, x_t, draw.t, draw.text)
    with feature_maps(student) as maps:
        prediction = predict(student, x_t, draw.t, draw.text)
    errors = F.mse_loss(prediction.float(), target.float(), reduction="none").flatten(1).mean(1)
    diffusion = (process.min_snr(draw.t, weights.gamma, weights.weighting) * errors).mean()
    output = F.mse_loss(prediction.float(), answer.float())
    pairs = zip(maps, wanted, strict=True)
    distances = torch.stack([F.mse_loss(ours.float(), theirs.float()) for ours, theirs in pairs])
    feature = distances.mean() if weights.features == "mean" else distances.sum()
    loss = weights.diffusion * diffusion + weights.output * output + weights.feature * feature
    return loss, {"diffusion": diffusion.detach(), "output": output.detach(), "feature": feature.detach()}


def unlearning(
    student: nn.Module,
    teacher: UNet2DConditionModel,
    x_t: Tensor,
    t: Tensor,
    text: Tensor,
    asked: Mapping[str, Tensor],
    target: Callable[[Mapping[str, Tensor]], Tensor],
) -> Loss:
    """Mean squared distance of the student's answer under `text` (n, L, D) from what `target` makes of the teacher's.

    The teacher is asked under each text of `asked`, (L, D) or (n, L, D), in one pass.
    """
    with torch.no_grad():
        states = torch.cat([one.to(text).expand_as(text) for one in asked.values()])
        answers = predict(teacher, x_t.repeat(len(asked), 1, 1, 1), t.repeat(len(asked)), states)
        said = answers.float().chunk(len(asked))
        wanted = target(dict(zip(asked, said, strict=True)))
    loss = F.mse_loss(predict(student, x_t, t, text).float(), wanted.float())
    return loss, {"unlearning": loss.detach()}


def negative_guidance_loss(
    student: nn.Module, teacher: UNet2DConditionModel, x_t: Tensor, t: Tensor, text: Tensor, null: Tensor, eta: float
) -> Loss:
    """`unlearning` by negative guidance: the teacher is asked under `text` and under the empty prompt `null` (L, D)."""

    def target(answers: Mapping[str, Tensor]) -> Tensor:
        return negative_guidance(answers["text"], answers["null"], eta)

    return unlearning(student, teacher, x_t, t, text, {"text": text, "null": null}, target)
