"""`conceptprune`: the weights that a concept excites most are set to zero (Chavhan et al. 2024, arXiv 2405.19237).

Pictures are denoised under prompts with the concept and under the same prompts without it. In the last matrix W of each
feed-forward block, at every step, a weight's score is |W| times the norm of its input over all prompts and places
(Wanda's, arXiv 2306.11695). A weight falls if it is among the best of its row with the concept and scores less without.
What falls at one of the first steps is zeroed for good, for every target in turn. Nothing is trained.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.errors import BudgetError, UsageError
from methods import costs
from methods.config_fields import identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor, nn

    from methods.base import Context, Materials
    from methods.budget import Budget
    from prompts.concepts import Concept

BATCH = 32
"""Prompts that are denoised together."""


class ConceptPruneConfig(BaseModel):
    """Which weights fall."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = identity(0.01, "Best scores of a row that may fall; at least one weight may.", gt=0, le=1)
    horizon: float | None = identity(
        None, "First part of the denoising that is looked at; if none is given, 0.2 for styles, else 0.18.", gt=0, le=1
    )
    threshold: float = identity(0.0, "A weight falls if it would at more than this share of these steps.", ge=0, lt=1)
    row_norm: bool = identity(True, "Whether each place's input counts with norm 1.")


class ConceptPrune:
    name: ClassVar[str] = "conceptprune"
    summary: ClassVar[str] = "distilled, then the feed-forward weights that the concept excites set to zero"
    start: ClassVar[Literal["pruned", "distilled", "base"]] = "distilled"
    recipe: ClassVar[int] = 1
    strength: ClassVar[str] = "share"
    erases: ClassVar[bool] = True
    uses_concept_images: ClassVar[bool] = False
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"share": 0.1, "horizon": 0.4},
        "paper": {},
        "released": {"horizon": 1.0},
    }
    Config: ClassVar[type[BaseModel]] = ConceptPruneConfig

    def __init__(self, config: ConceptPruneConfig | None = None) -> None:
        self.config = config or ConceptPruneConfig()

    @property
    def own_share(self) -> float:
        """Looking at a fifth of the steps costs 2 % of mini's default budget, at two fifths 4 %, at all 11 %."""
        return 0.15 if (self.config.horizon or 0.0) > 0.4 else 0.05

    def cycle(self, terms: costs.Terms) -> list[costs.Step]:
        """What `fit` spends, all at once."""
        steps = self._steps(terms.kind, terms.calls)
        cost = costs.looking(terms.contrast, steps, terms.guided, terms.student)
        return [costs.Step(self.name, cost, 1, BATCH, once=True)]

    def check(self, student: UNet2DConditionModel, concept: Concept) -> None:
        """UsageError for a U-Net without feed-forwards."""
        if not last_layers(student):
            raise UsageError("This U-Net has no ff.net.2: there is nothing that conceptprune could zero.")

    def fit(
        self,
        student: UNet2DConditionModel,
        materials: Materials,
        concept: Concept,
        budget: Budget,
        context: Context,
        seed: int,
    ) -> UNet2DConditionModel:
        """Zero weights in place. BudgetError if denoising the prompts costs more than the budget."""
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
                f"A budget of {budget.flops:.3g} FLOPs does not hold the {entry['unet_forwards']} passes that "
                f"conceptprune looks at: give at least {entry['flops']:.6g}."
            )
        fallen = {name: torch.zeros_like(layer.weight, dtype=torch.bool) for name, layer in layers.items()}
        for number, target in enumerate(concept.targets):
            without, under = zip(*materials.contrast[target], strict=True)
            with arithmetic(context.device, context.precision):
                base, excited = (
                    activity(student, materials, list(t), steps, seed, self.config) for t in (without, under)
                )
            for name, layer in layers.items():
                fallen[name] |= falling(layer.weight, excited[name], base[name], self.config)
            context.progress(self.name, number + 1, len(concept.targets), {"zeroed": share_of(fallen, student)})
        for name, layer in layers.items():
            layer.weight.data.masked_fill_(fallen[name], 0.0)
        seconds = time.perf_counter() - began
        context.ledger.append(Entry(**entry, wall_seconds=seconds, device_seconds=seconds, peak_memory_bytes=0))
        return student.eval()

    def _steps(self, kind: str, calls: int) -> int:
        """Calls of the U-Net that are looked at, 1 to all `calls` of a whole sampling."""
        return max(1, round((self.config.horizon or (0.2 if kind == "style" else 0.18)) * calls))

    def _entry(
        self, student: UNet2DConditionModel, materials: Materials, concept: Concept, steps: int
    ) -> dict[str, Any]:
        from methods.pruning.macs import forward_flops

        images = 2 * sum(len(materials.contrast[target]) for target in concept.targets)
        once = forward_flops(student, materials.sampler.latent_size, len(materials.null))
        cost = costs.looking(images, steps, materials.sampler.guidance > 1, once)
        told = {"phase": self.name, "iterations": 1, "images": images, "unet_forwards": cost.forwards}
        return {**told, "unet_backwards": 0, "flops": cost.flops}


def sampling_calls(materials: Materials) -> int:
    """Calls of the U-Net that a whole sampling makes."""
    from methods.sampling import make_scheduler

    return len(make_scheduler(materials.scheduler, materials.sampler).timesteps)


def last_layers(unet: nn.Module) -> dict[str, nn.Linear]:
    """The last matrix of every feed-forward block that exists, by name: down, up, then the middle block."""
    from torch import nn

    found = ((name, module) for name, module in unet.named_modules() if name.endswith(".ff.net.2"))
    return {name: module for name, module in found if isinstance(module, nn.Linear)}


def activity(
    unet: UNet2DConditionModel,
    materials: Materials,
    texts: Sequence[str],
    steps: int,
    seed: int,
    config: ConceptPruneConfig,
) -> dict[str, Tensor]:
    """Norms (steps, columns) of what enters each layer at each call, over texts, places and guidance halves."""
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
        own = rows.square().sum(0)
        if calls[0] < len(squares[name]):
            squares[name][calls[0]] += own
        else:
            squares[name].append(own)

    hooks = [unet.register_forward_pre_hook(count)]
    for name, layer in last_layers(unet).items():
        hooks.append(layer.register_forward_pre_hook(lambda module, inputs, name=name: keep(name, inputs[0])))
    sampler = materials.sampler
    shape = (len(texts), sampler.latent_channels, sampler.latent_size, sampler.latent_size)
    noise = torch.randn(shape, generator=generator(seed, "conceptprune"))  # the same with and without the concept
    states = materials.encode(texts)
    try:
        for k in range(0, len(texts), BATCH):
            calls[0], some = -1, slice(k, k + BATCH)
            sample(unet, materials.scheduler, states[some], materials.null, noise[some], sampler, stop=steps)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.stack(sums).sqrt() for name, sums in squares.items()}


def falling(weight: Tensor, excited: Tensor, base: Tensor, config: ConceptPruneConfig) -> Tensor:
    """Mask like `weight` (rows, columns) of what falls; norms (steps, columns) with the concept and without."""
    import torch

    magnitude = weight.detach().double().abs()
    best = max(1, int(config.share * weight.shape[1]))
    votes = torch.zeros_like(magnitude)
    for with_it, without in zip(excited, base, strict=True):
        score = magnitude * with_it
        among = torch.zeros_like(score, dtype=torch.bool).scatter_(1, score.topk(best, dim=1).indices, True)
        votes += among & (score > magnitude * without)
    return votes > config.threshold * len(excited)


def share_of(masks: dict[str, Tensor], unet: nn.Module) -> float:
    """Share of all weights of the U-Net that the masks hold."""
    return sum(int(mask.sum()) for mask in masks.values()) / sum(p.numel() for p in unet.parameters())
