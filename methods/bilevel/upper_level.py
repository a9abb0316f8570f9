"""The upper level of `bilevel`: its loss, its noisy latents x_t, and the lower level's loss where a solver adds it."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from benchmark import registry
from methods import costs
from methods.bilevel.config import sees_lower
from methods.bilevel.dynamic_barrier import multiplier
from methods.pruning.macs import forward_flops
from methods.training import losses
from methods.training.loop import Phase
from methods.training.noising import View, denoised, noised, texts_of

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from methods.base import Materials
    from methods.bilevel.config import BilevelConfig
    from methods.objective import UpperObjective
    from methods.training.batches import Batch
    from prompts.concepts import Concept


MOVED = {"all": ("",), "attn2": (".attn2.",), "attn2-kv": (".attn2.to_k.", ".attn2.to_v.")}
"""For each value of the setting `parameters`: upper steps train the parameters whose names contain one of these."""


def upper_phase(
    config: BilevelConfig,
    student: UNet2DConditionModel,
    materials: Materials,
    concept: Concept,
    seed: int,
    lower: Phase,
) -> Phase:
    """Return the training phase for L_CU, plus the weighted L_ft that the solver adds.

    With full captions (`prompts="caption"`, as in the authors' code) negative guidance erases the content of an image
    as well as its style: on mini, boats are forgotten together with Klimt. With the name alone (`prompts="name"`, as in
    ESD) content is preserved.
    """
    teacher, null, batch = materials.teacher, materials.null, config.upper_batch or config.batch
    view = _view(config, materials, seed, batch)
    objective: type[UpperObjective] = registry.load("objectives", config.objective)
    texts = {"null": null, "anchor": materials.encode([concept.anchor])[0]}

    def loss(model: nn.Module, erase_batch: Any, *retain_batches: Batch) -> losses.Loss:
        x_t, t, text = view.inputs(model, erase_batch)
        teacher_texts: dict[str, Tensor] = {name: text if name == "text" else texts[name] for name in objective.asks}
        target = partial(objective.target, eta=config.eta)
        total, terms = losses.unlearning(model, teacher, x_t, t, text, teacher_texts, target)
        for retain_batch in retain_batches:
            retention, parts = lower.loss(model, retain_batch)
            weight: float | Tensor = config.penalty
            if config.solver == "dynamic-barrier":
                trained = [p for name, p in model.named_parameters() if trains(name)]
                weight = multiplier(total, retention, trained, config.alpha)
                parts = {**parts, "mu": weight}
            total, terms = total + weight * retention, {**terms, "retention": retention.detach(), **parts}
        return total, terms

    def trains(name: str) -> bool:
        return any(part in name for part in MOVED[config.parameters])

    size, length = materials.sampler.latent_size, len(null)
    teacher_flops, student_flops = forward_flops(teacher, size, length), forward_flops(student, size, length)
    cost = costs.upper(batch, teacher_flops, student_flops, len(objective.asks), view.calls)
    streams: tuple[Any, ...] = (view.stream,)
    if sees_lower(config):
        # A separate stream, so that upper steps do not change the batches of lower steps.
        streams = (view.stream, dataclasses.replace(lower.streams[0], name="upper-retain"))
        cost = costs.upper_with_lower(cost, lower.cost, student_flops, barrier=config.solver == "dynamic-barrier")
    return Phase(
        name="upper",
        repeats=config.upper_steps,
        streams=streams,
        loss=loss,
        rate=config.upper_rate,
        warm_up=config.warm_up,
        warm_up_from_zero=config.warm_up_from_zero,
        cost=cost,
        optimiser=config.upper_optimiser,
        trains=trains,
        clip=config.clip,
        whole=config.solver == "dynamic-barrier",  # the multiplier needs both gradients over the whole batch
    )


def _view(config: BilevelConfig, materials: Materials, seed: int, batch: int) -> View:
    data = materials.erase_named if config.prompts == "name" else materials.erase
    if config.upper_data == "dataset":
        return noised("upper", seed, data, materials, batch)
    sampler = materials.sampler
    settings = {"steps": sampler.steps, "guidance": 3.0}  # ESD's guidance scale
    return denoised("upper", seed, texts_of(data), materials, batch, **settings)  # type: ignore[arg-type]
