"""`distilled`: restores the pruned U-Net by distillation (Eq. 8). Erasing methods are compared with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.json_types import Settings
from methods import costs
from methods.base import Method, Start
from methods.config_fields import identity, runtime

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from methods.base import Context, Materials
    from methods.budget import Budget
    from methods.training.loop import Phase
    from prompts.concepts import Concept


class DistilledConfig(BaseModel):
    """Loss weights of Eq. 8 and settings of the optimiser. The defaults are for testbed `mini`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = identity(32, "Images per step, over all processes.", ge=1)
    lower_rate: float = identity(5e-5, "AdamW's learning rate for Eq. 8.", gt=0)
    warm_up: int = identity(20, "Steps over which the learning rate rises linearly to its constant value.", ge=0)
    warm_up_from_zero: bool = identity(False, "Whether the first step of the warm-up has learning rate 0.", added=True)
    caption_dropout: float = identity(0.1, "Share of captions replaced by the empty prompt.", ge=0, le=1)
    diffusion: float = identity(1.0, "Weight of the diffusion loss.", ge=0)
    output: float = identity(2.0, "Weight of output distillation.", ge=0)
    feature: float = identity(0.1, "Weight of feature distillation.", ge=0)
    gamma: float = identity(5.0, "Min-SNR's gamma.", gt=0)
    weighting: Literal["shifted", "diffusers"] = identity(
        "shifted", "Min-SNR for v-prediction: min(s+1,g)/(s+1) or min(s,g)/(s+1)."
    )
    features: Literal["mean", "sum"] = identity("mean", "How the feature losses of the U-Net blocks are combined.")
    clip: float | None = identity(None, "Largest gradient norm; gradients are not clipped by default.", gt=0)
    checkpoint_every: int = runtime(50, "Steps between checkpoints.", ge=1)
    log_every: int = runtime(10, "Steps between readings of the loss, each of which waits for the device.", ge=1)


PAPER: Settings = {
    "batch": 64,
    "lower_rate": 1e-6,
    "warm_up": 250,
    "caption_dropout": 0.0,  # the paper mentions no dropout
    "features": "sum",
}
RELEASED: Settings = {
    "batch": 64,
    "lower_rate": 1e-6,
    "warm_up": 250,
    "warm_up_from_zero": True,
    "caption_dropout": 0.0,
}


def lower_phase(
    config: DistilledConfig, student: UNet2DConditionModel, materials: Materials, seed: int, repeats: int = 1
) -> Phase:
    """Return the training phase of the lower level: distillation (Eq. 8) on the retain set D_f.

    Its batches depend only on the seed, not on the method.

    Args:
        config: loss weights and optimiser settings.
        student: the U-Net to train.
        materials: teacher, retain set and scheduler.
        seed: seed of the batches.
        repeats: number of lower steps in a row within each cycle.
    """
    # torch is imported here and not at the top, so that listing methods is fast.
    from methods.pruning.macs import forward_flops
    from methods.training import losses
    from methods.training.batches import BatchStream
    from methods.training.loop import Phase

    process = losses.Process(materials.scheduler)
    weights = losses.Weights(**{name: getattr(config, name) for name in losses.Weights.__dataclass_fields__})
    teacher = materials.teacher
    stream = BatchStream(
        name="lower",
        seed=seed,
        data=materials.retain,
        null=materials.null,
        batch=config.batch,
        timesteps=process.timesteps,
        dropout=config.caption_dropout,
    )
    size, length = materials.sampler.latent_size, len(materials.null)
    teacher_flops, student_flops = forward_flops(teacher, size, length), forward_flops(student, size, length)
    return Phase(
        name="lower",
        repeats=repeats,
        streams=(stream,),
        loss=lambda model, draw: losses.distillation_loss(model, teacher, process, draw, weights),
        rate=config.lower_rate,
        warm_up=config.warm_up,
        warm_up_from_zero=config.warm_up_from_zero,
        cost=costs.lower(config.batch, teacher_flops, student_flops),
        clip=config.clip,
    )


class Distilled(Method):
    name: ClassVar[str] = "distilled"
    summary: ClassVar[str] = "Eq. 8 distillation of the pruned model; erases nothing"
    start: ClassVar[Start] = "pruned"
    recipe: ClassVar[int] = 2
    reads_kept_names: ClassVar[bool] = False
    erases: ClassVar[bool] = False
    uses_concept_images = False
    presets: ClassVar[dict[str, Settings]] = {"default": {}, "paper": PAPER, "released": RELEASED}
    Config: ClassVar[type[BaseModel]] = DistilledConfig
    config: DistilledConfig

    def cycle(self, terms: costs.Terms) -> list[costs.Step]:
        """Return the steps that `fit` repeats, with their costs."""
        batch = self.config.batch
        return [costs.Step("lower", costs.lower(batch, terms.base, terms.student), 1, batch)]

    def fit(
        self,
        student: UNet2DConditionModel,
        materials: Materials,
        concept: Concept,
        budget: Budget,
        context: Context,
        seed: int,
    ) -> UNet2DConditionModel:
        """Train in place until the budget does not pay for another step. `concept` is not used."""
        from methods.training.loop import freeze, train

        config = self.config
        freeze(materials.teacher, context.device, context.precision)
        lower = lower_phase(config, student, materials, seed)
        return train(
            student,
            [lower],
            budget.steps([(lower.cost, lower.repeats)]),
            context,
            checkpoint_every=config.checkpoint_every,
            log_every=config.log_every,
        )
