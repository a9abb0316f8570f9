"""`bilevel`: restore and forget at once, from the pruned weights.

The problem is min L_CU(theta) subject to theta in argmin L_ft. G(theta, phi) = L_CU(theta) + lambda (L_ft(theta) -
L_ft(phi)) is separable, and the paper's Algorithm 1, which lets the two sets be "the same or different", has three
readings:

1. two sets: the inner steps move phi, on which the gradient in theta does not depend, so theta sees L_CU + lambda L_ft;
2. one set, phi held fixed in the upper step: K lower steps, then one upper step on L_CU + lambda L_ft;
3. one set, no lambda: K lower steps, then one upper step on L_CU alone, as the authors' released code does.

Solver `alternating` is 3 with `penalty` 0 (the default) and 2 with `penalty` lambda (100 in the paper).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel

from methods.distilled import PAPER, RELEASED, DistilledConfig, lower_phase
from methods.fields import identity

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor, nn

    from methods.base import Context, Materials
    from methods.budget import Budget
    from methods.draws import Draw
    from methods.training import Phase
    from prompts.concepts import Concept


class BilevelConfig(DistilledConfig):
    """The lower level's fields are those of `distilled`."""

    solver: Literal["alternating"] = identity("alternating", "K lower steps, then one upper step, on one set.")
    lower_steps: int = identity(20, "K, the lower steps before each upper step.", ge=1)
    upper_rate: float = identity(2e-3, "AdamW's rate for the upper steps.", gt=0)
    prompts: Literal["name", "caption"] = identity("name", "What upper steps unlearn: the target's name, or captions.")
    penalty: float = identity(0.0, "lambda, the weight of Eq. 8 in the upper step.", ge=0)
    eta: float = identity(1.0, "Strength of negative guidance: target e_null - eta (e_caption - e_null).", ge=0)
    parameters: Literal["all", "attn2"] = identity("attn2", "What upper steps move: every weight, or cross-attention.")


CAPTIONS: dict[str, Any] = {"prompts": "caption", "parameters": "all"}
"""What the authors' upper steps read and move."""


class Bilevel:
    name: ClassVar[str] = "bilevel"
    summary: ClassVar[str] = "Eq. 8 and negative guidance in turns, from the pruned weights"
    start: ClassVar[Literal["pruned", "distilled", "base"]] = "pruned"
    recipe: ClassVar[int] = 1
    erases: ClassVar[bool] = True
    uses_concept_images: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {**PAPER, **CAPTIONS, "lower_steps": 20, "upper_rate": 5e-6, "penalty": 100.0},
        "released": {**RELEASED, **CAPTIONS, "lower_steps": 10, "upper_rate": 5e-6, "penalty": 0.0},
    }
    Config: ClassVar[type[BaseModel]] = BilevelConfig

    def __init__(self, config: BilevelConfig | None = None) -> None:
        self.config = config or BilevelConfig()

    def fit(
        self,
        student: UNet2DConditionModel,
        materials: Materials,
        concept: Concept,
        budget: Budget,
        context: Context,
        seed: int,
    ) -> UNet2DConditionModel:
        """Alternate until the budget holds no further step. What is forgotten is what `materials.erase` shows."""
        from methods.training import freeze, train

        config = self.config
        freeze(materials.teacher, context.device)
        lower = lower_phase(config, student, materials, seed, repeats=config.lower_steps)
        phases = [lower, upper_phase(config, student, materials, seed, lower)]
        return train(
            student,
            phases,
            budget.steps([(phase.cost, phase.repeats) for phase in phases]),
            context,
            checkpoint_every=config.checkpoint_every,
            log_every=config.log_every,
        )


def upper_phase(
    config: BilevelConfig, student: UNet2DConditionModel, materials: Materials, seed: int, lower: Phase
) -> Phase:
    """Return the upper level: L_CU + lambda L_ft on noised concept images.

    Under full captions, as the authors train, negative guidance turns away from what a picture shows as much as from
    how it is painted: on mini it forgets boats with Klimt. Under the name alone, as ESD does, contents stay.
    """
    from methods import objectives
    from methods.budget import Cost
    from methods.draws import Stream
    from methods.pruning.macs import forward_flops
    from methods.training import Phase

    process = objectives.Process(materials.scheduler)
    teacher, null = materials.teacher, materials.null
    shown, batch = materials.erase_named if config.prompts == "name" else materials.erase, config.batch
    stream = Stream(name="upper", seed=seed, data=shown, null=null, batch=batch, timesteps=process.timesteps)
    size, length = materials.sampler.latent_size, len(null)
    taught, learnt = forward_flops(teacher, size, length), forward_flops(student, size, length)
    # The teacher answers twice (caption, null). The backward pass is whole, and charged so, even if only attn2 moves.
    cost = Cost(forwards=3 * batch, backwards=batch, flops=batch * (2 * taught + 3 * learnt))
    streams: tuple[Stream, ...] = (stream,)
    if config.penalty:
        # A draw of its own, so that the lower level's batches are the same whatever lambda is.
        streams = (stream, dataclasses.replace(lower.streams[0], name="upper-retain"))
        cost = Cost(
            forwards=cost.forwards + lower.cost.forwards,
            backwards=cost.backwards + lower.cost.backwards,
            flops=cost.flops + lower.cost.flops,
        )

    def loss(model: nn.Module, erased: Draw, *kept: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        total, figures = objectives.unlearning(model, teacher, process, erased, null, config.eta)
        for draw in kept:
            penalty, parts = lower.loss(model, draw)
            total, figures = total + config.penalty * penalty, {**figures, **parts}
        return total, figures

    return Phase(
        name="upper",
        repeats=1,
        streams=streams,
        loss=loss,
        rate=config.upper_rate,
        warm_up=config.warm_up,
        cost=cost,
        trains=(lambda name: "attn2" in name) if config.parameters == "attn2" else (lambda name: True),
        clip=config.clip,
    )
