"""`esd`: fine-tunes the distilled model by negative guidance (Gandikota et al. 2023, arXiv 2303.07345).

In each iteration, the trained model denoises random noise with the name of one target as the prompt, up to a random
step. Its prediction at that step is trained towards e_null - eta (e_name - e_null), computed by a frozen model. ESD-x
trains only cross-attention (for styles); ESD-u trains the other layers (for explicit content).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from benchmark.errors import UsageError
from benchmark.json_types import Settings
from methods import costs
from methods.base import Method, Start
from methods.config_fields import identity, runtime
from methods.sampling_steps import TRAINED

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor, nn

    from methods.base import Context, Materials
    from methods.budget import Budget
    from methods.training.batches import NoiseBatch
    from methods.training.loop import Phase
    from prompts.concepts import Concept


class EsdConfig(BaseModel):
    """Settings of the erasing loss and its optimiser. The defaults are for testbed `mini`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = identity(4, "Images per iteration, over all processes; all have the same name as prompt.", ge=1)
    rate: float = identity(1.5e-4, "Learning rate of AdamW without weight decay, which is Adam.", gt=0)
    warm_up: int = identity(0, "Iterations over which the learning rate rises linearly to its constant value.", ge=0)
    parameters: Literal["auto", "x", "u", "u-all", "noxattn", "u-first", "auto-noxattn"] = identity(
        "auto",
        "Weights to train. x: cross-attention. u: everything outside cross-attention except the first and last "
        "convolution and the time embedding. u-all: everything outside cross-attention. noxattn: linear layers and "
        "convolutions outside cross-attention, as in the ESD code of Shirkavand et al. u-first: everything outside "
        "cross-attention except the last norm, the last convolution and the time embedding, as in the first code of "
        "ESD. auto: x for styles, else u. auto-noxattn: x for styles, else noxattn.",
    )
    eta: float = identity(1.0, "Strength of negative guidance in the target e_null - eta (e_name - e_null).", ge=0)
    target: Literal["start", "base"] = identity(
        "start", "Frozen model that computes the target: the initial student or the base."
    )
    guidance: float = identity(3.0, "Classifier-free guidance scale while x_t is sampled.", gt=1)
    steps: int = identity(
        20, "DDIM steps of a complete sampling; x_t is taken before a random one of them.", ge=1, le=TRAINED - 1
    )
    inner_steps: bool = identity(
        False, "Whether x_t is taken before one of steps 1 to steps - 2, instead of 0 to steps - 1.", added=True
    )
    offset: int = identity(
        0, "Added to the timestep of x_t in the loss; 19 reproduces an error in the released code.", ge=0
    )
    clip: float | None = identity(None, "Largest gradient norm; gradients are not clipped by default.", gt=0)
    checkpoint_every: int = runtime(50, "Iterations between checkpoints.", ge=1)
    log_every: int = runtime(
        10, "Iterations between reports of the loss, each of which synchronises with the device.", ge=1
    )

    @model_validator(mode="after")
    def _has_steps_to_draw(self) -> Self:
        if self.inner_steps and self.steps < 3:
            raise ValueError("inner_steps requires steps to be at least 3")
        return self


class Esd(Method):
    name: ClassVar[str] = "esd"
    summary: ClassVar[str] = "negative guidance on the distilled model's own samples: ESD-x for styles, else ESD-u"
    start: ClassVar[Start] = "distilled"
    own_share = 0.2
    strength: ClassVar[str] = "rate"
    recipe: ClassVar[int] = 1
    reads_kept_names: ClassVar[bool] = False
    uses_concept_images = False
    presets: ClassVar[dict[str, Settings]] = {
        "default": {},
        "paper": {"batch": 1, "rate": 1e-5, "steps": 50},
        "released": {
            "batch": 1,
            "rate": 1e-5,
            "steps": 50,
            "offset": 19,
            "inner_steps": True,
            "parameters": "auto-noxattn",
        },
    }
    Config: ClassVar[type[BaseModel]] = EsdConfig
    config: EsdConfig

    def cycle(self, terms: costs.Terms) -> list[costs.Step]:
        """Return the steps that `fit` repeats, with their costs."""
        config = self.config
        frozen = terms.base if config.target == "base" else terms.student
        cost = costs.erasing(config.batch, terms.student, frozen, config.steps - 1)
        return [costs.Step("esd", cost, 1, config.batch)]

    def check(self, student: UNet2DConditionModel, concept: Concept) -> None:
        """Raise UsageError if the U-Net has none of the weights that the setting `parameters` selects."""
        if not any(map(moved(self.config.parameters, concept), student.state_dict())):
            raise UsageError("This U-Net has none of the weights that esd trains: prune less of it (a larger --macs).")

    def fit(
        self,
        student: UNet2DConditionModel,
        materials: Materials,
        concept: Concept,
        budget: Budget,
        context: Context,
        seed: int,
    ) -> UNet2DConditionModel:
        """Train in place until the budget is too small for one more iteration."""
        from methods.training.loop import freeze, train

        config = self.config
        frozen = materials.teacher if config.target == "base" else copy.deepcopy(student)
        freeze(frozen, context.device, context.precision)
        phase = erasing_phase(config, student, frozen, materials, concept, seed)
        return train(
            student,
            [phase],
            budget.steps([(phase.cost, phase.repeats)]),
            context,
            checkpoint_every=config.checkpoint_every,
            log_every=config.log_every,
        )


def erasing_phase(
    config: EsdConfig,
    student: UNet2DConditionModel,
    frozen: UNet2DConditionModel,
    materials: Materials,
    concept: Concept,
    seed: int,
) -> Phase:
    """Return the training phase of ESD. The trained model samples a new x_t in every iteration.

    Args:
        config: settings of the loss and the optimiser.
        student: the U-Net to train.
        frozen: the frozen U-Net that computes the target.
        materials: scheduler, sampler settings and text encoder.
        concept: the concept to erase.
        seed: seed of the noise.
    """
    from methods.pruning.macs import forward_flops
    from methods.training import losses
    from methods.training.loop import Phase
    from methods.training.noising import denoised

    null, batch, names = materials.null, config.batch, materials.encode(concept.targets)
    settings: Settings = {"steps": config.steps, "guidance": config.guidance, "offset": config.offset}
    settings["inner"] = config.inner_steps
    view = denoised("esd", seed, names, materials, batch, **settings)

    def loss(model: nn.Module, draw: NoiseBatch) -> tuple[Tensor, dict[str, Tensor]]:
        return losses.negative_guidance_loss(model, frozen, *view.inputs(model, draw), null, config.eta)

    size, length = materials.sampler.latent_size, len(null)
    edited_flops, frozen_flops = forward_flops(student, size, length), forward_flops(frozen, size, length)
    return Phase(
        name="esd",
        repeats=1,
        streams=(view.stream,),
        loss=loss,
        rate=config.rate,
        warm_up=config.warm_up,
        cost=costs.erasing(batch, edited_flops, frozen_flops, view.calls),
        trains=moved(config.parameters, concept),
        clip=config.clip,
    )


ENDS = ("conv_in.", "conv_out.", "time_embedding.")
LAST = ("conv_norm_out.", "conv_out.", "time_embedding.")


def moved(parameters: str, concept: Concept) -> Callable[[str], bool]:
    """Return a function that takes a parameter's name and returns whether ESD trains it.

    Args:
        parameters: a value of the setting `parameters`.
        concept: the concept, whose kind decides what `auto` selects.
    """
    if parameters.startswith("auto"):
        parameters = "x" if concept.kind == "style" else parameters.removeprefix("auto-").replace("auto", "u")
    chosen: dict[str, Callable[[str], bool]] = {
        "x": lambda name: "attn2" in name,
        "u": lambda name: "attn2" not in name and not name.startswith(ENDS),
        "u-all": lambda name: "attn2" not in name,
        # Every layer that has weights and is not a norm is a linear layer or a convolution.
        "noxattn": lambda name: "attn2" not in name and "norm" not in name,
        "u-first": lambda name: "attn2" not in name and not name.startswith(LAST),
    }
    return chosen[parameters]
