"""`bilevel`: restore and forget at once, from the pruned weights.

The problem is min L_CU(theta) subject to theta in argmin L_ft. G(theta, phi) = L_CU(theta) + lambda (L_ft(theta) -
L_ft(phi)) is separable, and the paper's Algorithm 1, which lets the two sets be "the same or different", has three
readings:

1. two sets: the inner steps move phi, on which the gradient in theta does not depend, so theta sees L_CU + lambda L_ft;
2. one set, phi held fixed in the upper step: K lower steps, then one upper step on L_CU + lambda L_ft;
3. one set, no lambda: K lower steps, then one upper step on L_CU alone, as the authors' released code does.

Solver `alternating` is 3 with `penalty` 0 (the default) and 2 with `penalty` lambda (100 in the paper). Solver
`penalty` is 1: theta goes along L_CU + lambda L_ft at every step; the inner steps, which never reach it, are left out.
Solver `dynamic-barrier` is ours: K lower steps, then a step along grad L_CU + mu grad L_ft, with the least mu that
keeps the lower level from being undone (`barrier.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, model_validator

from benchmark import registry
from benchmark.errors import UsageError
from methods import spending
from methods.distilled import PAPER, RELEASED, DistilledConfig, lower_phase
from methods.fields import identity
from methods.upper_objectives import ASKED

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from methods.base import Context, Materials
    from methods.budget import Budget
    from prompts.concepts import Concept


class BilevelConfig(DistilledConfig):
    """The lower level's fields are those of `distilled`."""

    solver: Literal["alternating", "penalty", "dynamic-barrier"] = identity(
        "alternating", "K lower steps, then an upper one; both losses at every step; or an upper one that yields."
    )
    lower_steps: int = identity(20, "K, the lower steps before each upper step.", ge=1)
    upper_steps: int = identity(1, "Upper steps in a row; the paper takes one.", ge=1)
    upper_batch: int | None = identity(None, "Images an upper step; as many as a lower one if none is given.", ge=1)
    upper_rate: float = identity(2.5, "The upper steps' rate, in the scale of their optimiser.", gt=0)
    upper_optimiser: Literal["sgd", "adamw"] = identity(
        "sgd", "How upper steps are taken: along the gradient, or AdamW's way, which moves every weight alike."
    )
    objective: str = identity(
        "negative-guidance", "L_CU: an upper objective by name (`bench list objectives`), or path/to/file.py:Class."
    )
    upper_data: Literal["dataset", "sampled"] = identity(
        "dataset", "x_t of upper steps: noised concept images, or what the model itself denoises."
    )
    prompts: Literal["name", "caption"] = identity("name", "What upper steps unlearn: the target's name, or captions.")
    penalty: float = identity(0.0, "lambda, the weight of Eq. 8 in the upper step.", ge=0)
    alpha: float = identity(1.0, "Dynamic barrier: pace at which L_ft must still fall, 1 for its own gradient's.", ge=0)
    eta: float = identity(1.0, "Strength of negative guidance: target e_null - eta (e_caption - e_null).", ge=0)
    parameters: Literal["all", "attn2", "attn2-kv"] = identity(
        "attn2", "What upper steps move: every weight, cross-attention, or its keys and values alone."
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        check_objective(self.objective)
        if self.solver == "penalty" and not self.penalty:
            raise ValueError("solver 'penalty' needs a penalty above 0, such as --set penalty=100")
        if self.solver == "dynamic-barrier" and self.upper_optimiser != "sgd":
            raise ValueError("solver 'dynamic-barrier' keeps its promise only under upper_optimiser 'sgd'")
        return self


def check_objective(name: str) -> None:
    """UsageError for an upper objective that nobody has, or that lacks a part."""
    found = registry.load("objectives", name)
    lacking = [part for part in ("asks", "target") if not hasattr(found, part)]
    if lacking or not set(found.asks) <= set(ASKED) or not found.asks:
        raise UsageError(
            f"{name} is not an upper objective: see methods/upper_objectives.py. It needs `target` and `asks`, of "
            f"{', '.join(ASKED)}."
        )


def sees_lower(config: BilevelConfig) -> bool:
    """Whether an upper step looks at Eq. 8 as well."""
    return bool(config.penalty) or config.solver == "dynamic-barrier"


AUTHORS: dict[str, Any] = {"prompts": "caption", "parameters": "all", "upper_optimiser": "adamw"}
"""What the authors' upper steps read and move, and how."""


class Bilevel:
    name: ClassVar[str] = "bilevel"
    summary: ClassVar[str] = "Eq. 8 and negative guidance in turns, from the pruned weights"
    start: ClassVar[Literal["pruned", "distilled", "base"]] = "pruned"
    recipe: ClassVar[int] = 2
    strength: ClassVar[str] = "upper_rate"
    erases: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "paper": {**PAPER, **AUTHORS, "lower_steps": 20, "upper_rate": 5e-6, "penalty": 100.0},
        "released": {**RELEASED, **AUTHORS, "lower_steps": 10, "upper_rate": 5e-6, "penalty": 0.0},
        # The other solvers at rates of their own. AdamW's step does not grow with the penalty, SGD's would.
        "penalty": {
            "solver": "penalty",
            "penalty": 10.0,
            "parameters": "all",
            "upper_optimiser": "adamw",
            "upper_rate": 5e-5,
        },
        "dynamic-barrier": {"solver": "dynamic-barrier", "alpha": 0.0, "upper_rate": 3.0},
    }
    Config: ClassVar[type[BaseModel]] = BilevelConfig

    def __init__(self, config: BilevelConfig | None = None) -> None:
        self.config = config or BilevelConfig()

    @property
    def uses_concept_images(self) -> bool:
        return self.config.upper_data == "dataset"

    def cycle(self, terms: spending.Terms) -> list[spending.Step]:
        """What `fit` spends, step by step."""
        config = self.config
        batch = config.upper_batch or config.batch
        lower = spending.lower(config.batch, terms.base, terms.student)
        answers = len(registry.load("objectives", config.objective).asks)
        calls = terms.steps - 1 if config.upper_data == "sampled" else 0
        upper = spending.upper(batch, terms.base, terms.student, answers, calls)
        if sees_lower(config):
            upper = spending.upper_with_lower(upper, lower, terms.student, barrier=config.solver == "dynamic-barrier")
            batch += config.batch
        steps = [spending.Step("upper", upper, config.upper_steps, batch)]
        if config.solver != "penalty":
            steps.insert(0, spending.Step("lower", lower, config.lower_steps, config.batch))
        return steps

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
        from methods.upper import upper_phase

        config = self.config
        freeze(materials.teacher, context.device, context.precision)
        lower = lower_phase(config, student, materials, seed, repeats=config.lower_steps)
        upper = upper_phase(config, student, materials, concept, seed, lower)
        phases = [upper] if config.solver == "penalty" else [lower, upper]
        return train(
            student,
            phases,
            budget.steps([(phase.cost, phase.repeats) for phase in phases]),
            context,
            checkpoint_every=config.checkpoint_every,
            log_every=config.log_every,
        )
