"""`conceptprune`: sets to zero the weights that a concept activates most (Chavhan et al. 2024, arXiv 2405.19237).

The method samples images with prompts that contain the concept and with the same prompts without it. At each denoising
step, every weight in the last matrix W of a feed-forward block gets the score |W| times the norm of its input over all
prompts and positions (the score of Wanda, arXiv 2306.11695). A weight is selected at a step if its score with the
concept is among the highest of its row and exceeds its score without the concept. By default, a weight is set to zero
if it is selected for any target at any of the first steps. Nothing is trained.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from benchmark.errors import BudgetError, UsageError
from benchmark.json_types import Settings
from methods import costs
from methods.base import Method, Start
from methods.config_fields import identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor, nn

    from methods.base import Context, Materials
    from methods.budget import Budget
    from prompts.concepts import Concept

BATCH = 32
"""Number of prompts in a batch."""


class ConceptPruneConfig(BaseModel):
    """Settings that select the weights to set to zero."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = identity(
        0.01, "Share of a row's weights that can be selected at a step (at least one weight).", gt=0, le=1
    )
    horizon: float | None = identity(
        None,
        "Share of the denoising steps, from the first, that is evaluated; None means the published 0.2 for styles, "
        "else 0.18.",
        gt=0,
        le=1,
    )
    threshold: float = identity(
        0.0, "A weight is set to zero if it is selected at more than this share of steps.", ge=0, lt=1
    )
    row_norm: bool = identity(True, "Whether the input at each position is scaled to norm 1.")


class ConceptPrune(Method):
    name: ClassVar[str] = "conceptprune"
    summary: ClassVar[str] = "zeroes the feed-forward weights of the distilled model that the concept activates most"
    start: ClassVar[Start] = "distilled"
    recipe: ClassVar[int] = 1
    reads_kept_names: ClassVar[bool] = False
    strength: ClassVar[str] = "share"
    uses_concept_images = False
    presets: ClassVar[dict[str, Settings]] = {
        "default": {"share": 0.1, "horizon": 0.4},
        "paper": {},
        "released": {"horizon": 1.0},
    }
    Config: ClassVar[type[BaseModel]] = ConceptPruneConfig
    config: ConceptPruneConfig

    @property
    def own_share(self) -> float:
        """Share of the budget for pruning the concept, after distillation.

        On mini, evaluating a fifth of the steps costs 2 % of the default budget, two fifths 4 %, and all steps 11 %.
        """
        return 0.15 if (self.config.horizon or 0.0) > 0.4 else 0.05

    def cycle(self, terms: costs.Terms) -> list[costs.Step]:
        """Return the single step of `fit`, with its cost."""
        steps = self._steps(terms.kind, terms.calls)
        cost = costs.conceptprune_cost(terms.contrast, steps, terms.guided, terms.student)
        return [costs.Step(self.name, cost, 1, BATCH, once=True)]

    def check(self, student: UNet2DConditionModel, concept: Concept) -> None:
        """Raise `UsageError` if the U-Net has no feed-forward block."""
        if not last_layers(student):
            raise UsageError(
                "This U-Net has no feed-forward layer ff.net.2, so conceptprune has no weights to set to zero."
            )

    def fit(
        self,
        student: UNet2DConditionModel,
        materials: Materials,
        concept: Concept,
        budget: Budget,
        context: Context,
        seed: int,
    ) -> UNet2DConditionModel:
        """Set the selected weights of `student` to zero in place.

        Raises:
            BudgetError: sampling the prompts costs more than the budget.
        """
        import torch

        from methods.budget import Entry
        from methods.training.loop import freeze
        from methods.training.precision import arithmetic

        began = time.perf_counter()
        freeze(student, context.device)
        self.check(student, concept)
        layers = last_layers(student)
        steps = self._steps(concept.kind, sampling_calls(materials))
        entry = self._entry(student, materials, concept, steps)
        if budget.flops is not None and entry["flops"] > budget.flops:
            raise BudgetError(
                f"A budget of {budget.flops:.3g} FLOPs does not pay for the {entry['unet_forwards']} passes that "
                f"conceptprune needs: give at least {entry['flops']:.6g}."
            )
        masks = {name: torch.zeros_like(layer.weight, dtype=torch.bool) for name, layer in layers.items()}
        for number, target in enumerate(concept.targets):
            without_target, with_target = zip(*materials.contrast[target], strict=True)
            with arithmetic(context.device, context.precision):
                base, excited = (
                    activity(student, materials, list(texts), steps, seed, self.config)
                    for texts in (without_target, with_target)
                )
            for name, layer in layers.items():
                masks[name] |= pruning_mask(layer.weight, excited[name], base[name], self.config)
            context.progress(self.name, number + 1, len(concept.targets), {"zeroed": share_of(masks, student)})
        for name, layer in layers.items():
            layer.weight.data.masked_fill_(masks[name], 0.0)
        seconds = time.perf_counter() - began
        context.ledger.append(Entry(**entry, wall_seconds=seconds, device_seconds=seconds, peak_memory_bytes=0))
        return student.eval()

    def _steps(self, kind: str, calls: int) -> int:
        """Return how many U-Net calls are evaluated, from 1 to `calls`, the number of calls for sampling an image."""
        return max(1, round((self.config.horizon or (0.2 if kind == "style" else 0.18)) * calls))

    def _entry(
        self, student: UNet2DConditionModel, materials: Materials, concept: Concept, steps: int
    ) -> dict[str, Any]:
        from methods.pruning.macs import forward_flops

        images = 2 * sum(len(materials.contrast[target]) for target in concept.targets)
        pass_flops = forward_flops(student, materials.sampler.latent_size, len(materials.null))
        cost = costs.conceptprune_cost(images, steps, materials.sampler.guidance > 1, pass_flops)
        counts = {"phase": self.name, "iterations": 1, "images": images, "unet_forwards": cost.forwards}
        return {**counts, "unet_backwards": 0, "flops": cost.flops}


def sampling_calls(materials: Materials) -> int:
    """Return the number of U-Net calls for sampling an image."""
    from methods.sampling import make_scheduler

    return len(make_scheduler(materials.scheduler, materials.sampler).timesteps)


def last_layers(unet: nn.Module) -> dict[str, nn.Linear]:
    """Return the last linear layer of every feed-forward block, by name, in the order of `named_modules`."""
    from torch import nn

    modules = ((name, module) for name, module in unet.named_modules() if name.endswith(".ff.net.2"))
    return {name: module for name, module in modules if isinstance(module, nn.Linear)}


def activity(
    unet: UNet2DConditionModel,
    materials: Materials,
    texts: Sequence[str],
    steps: int,
    seed: int,
    config: ConceptPruneConfig,
) -> dict[str, Tensor]:
    """Return the norms (steps, columns) of the inputs of each layer of `last_layers` at each U-Net call, by name.

    A norm is taken over texts, positions, and the two passes of classifier-free guidance.

    Args:
        unet: the U-Net to evaluate.
        materials: scheduler, sampler settings and text encoder.
        texts: prompts to sample.
        steps: number of U-Net calls to evaluate.
        seed: seed of the initial noise.
        config: settings of the method.
    """
    import torch

    from methods.sampling import sample
    from methods.training.batches import generator

    calls: list[int] = [-1]
    squares: dict[str, list[Tensor]] = defaultdict(list)

    def count(module: nn.Module, inputs: Any) -> None:
        calls[0] += 1

    def keep(name: str, x: Tensor) -> None:
        rows = x.detach().flatten(0, -2).double()
        if config.row_norm:
            rows = torch.nn.functional.normalize(rows, dim=1)
        sums = rows.square().sum(0)
        if calls[0] < len(squares[name]):
            squares[name][calls[0]] += sums
        else:
            squares[name].append(sums)

    hooks = [unet.register_forward_pre_hook(count)]
    for name, layer in last_layers(unet).items():
        hooks.append(layer.register_forward_pre_hook(lambda module, inputs, name=name: keep(name, inputs[0])))
    sampler = materials.sampler
    shape = (len(texts), sampler.latent_channels, sampler.latent_size, sampler.latent_size)
    noise = torch.randn(shape, generator=generator(seed, "conceptprune"))  # the same noise with and without the concept
    states = materials.encode(texts)
    try:
        for k in range(0, len(texts), BATCH):
            calls[0], rows = -1, slice(k, k + BATCH)
            sample(unet, materials.scheduler, states[rows], materials.null, noise[rows], sampler, stop=steps)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.stack(sums).sqrt() for name, sums in squares.items()}


def pruning_mask(weight: Tensor, excited: Tensor, base: Tensor, config: ConceptPruneConfig) -> Tensor:
    """Return the boolean mask (rows, columns) of the weights to set to zero.

    Args:
        weight: the matrix (rows, columns).
        excited: norms (steps, columns) of its inputs for prompts with the concept.
        base: norms (steps, columns) of its inputs for the same prompts without the concept.
        config: settings of the method.
    """
    import torch

    magnitude = weight.detach().double().abs()
    best = max(1, int(config.share * weight.shape[1]))
    votes = torch.zeros_like(magnitude)
    for excited_norm, base_norm in zip(excited, base, strict=True):
        score = magnitude * excited_norm
        highest = torch.zeros_like(score, dtype=torch.bool).scatter_(1, score.topk(best, dim=1).indices, True)
        votes += highest & (score > magnitude * base_norm)
    return votes > config.threshold * len(excited)


def share_of(masks: dict[str, Tensor], unet: nn.Module) -> float:
    """Return the share (0 to 1) of the U-Net's parameters that the masks select."""
    return sum(int(mask.sum()) for mask in masks.values()) / sum(p.numel() for p in unet.parameters())
