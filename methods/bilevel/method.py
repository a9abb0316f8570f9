"""`bilevel`: restores the pruned model and erases the concept in the same training, starting from the pruned weights.

The problem is to minimise the unlearning loss L_CU(theta) subject to theta in argmin L_ft, where L_ft is the
distillation loss (Eq. 8 of the paper). Its penalty form is G(theta, phi) = L_CU(theta) + lambda (L_ft(theta) -
L_ft(phi)), which is separable in theta and phi. The paper's Algorithm 1 says that the two parameter sets may be "the
same or different". This can be read in three ways:

1. Two parameter sets. Lower steps train phi. The gradient with respect to theta does not depend on phi, so theta is
   trained on L_CU + lambda L_ft.
2. One parameter set, with phi held fixed in the upper step: K lower steps, then one upper step on L_CU + lambda L_ft.
3. One parameter set without lambda: K lower steps, then one upper step on L_CU alone, as in the authors' released code.

The solvers implement these readings:

- `alternating` is reading 3 if `penalty` is 0 (the default), and reading 2 if `penalty` is lambda (100 in the paper).
- `penalty` is reading 1: every step trains theta on L_CU + lambda L_ft. Lower steps are omitted, because they do not
  affect theta.
- `dynamic-barrier` is not in the paper: K lower steps, then a step along grad L_CU + mu grad L_ft, with the smallest mu
  for which, to first order, the step still decreases L_ft (`dynamic_barrier.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel

from benchmark import registry
from benchmark.json_types import Settings
from methods import costs
from methods.base import Method, Start
from methods.bilevel.config import AUTHORS, BilevelConfig, sees_lower
from methods.distilled import PAPER, RELEASED, lower_phase

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from methods.base import Context, Materials
    from methods.budget import Budget
    from prompts.concepts import Concept


class Bilevel(Method):
    name: ClassVar[str] = "bilevel"
    summary: ClassVar[str] = (
        "alternates the paper's distillation (Eq. 8) and negative guidance, starting from the pruned weights"
    )
    start: ClassVar[Start] = "pruned"
    recipe: ClassVar[int] = 2
    reads_kept_names: ClassVar[bool] = False
    strength: ClassVar[str] = "upper_rate"
    presets: ClassVar[dict[str, Settings]] = {
        "default": {},
        "paper": {**PAPER, **AUTHORS, "lower_steps": 20, "upper_rate": 5e-6, "penalty": 100.0},
        "released": {**RELEASED, **AUTHORS, "lower_steps": 10, "upper_rate": 5e-6, "penalty": 0.0},
        # The other solvers need different learning rates. `penalty` uses AdamW, because SGD's step would grow with the
        # penalty.
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
    config: BilevelConfig

    @property
    def uses_concept_images(self) -> bool:
        return self.config.upper_data == "dataset"

    @property
    def solver(self) -> str | None:
        return self.config.solver

    def cycle(self, terms: costs.Terms) -> list[costs.Step]:
        """Return the steps that `fit` repeats, with their costs."""
        config = self.config
        batch = config.upper_batch or config.batch
        lower = costs.lower(config.batch, terms.base, terms.student)
        answers = len(registry.load("objectives", config.objective).asks)
        calls = terms.steps - 1 if config.upper_data == "sampled" else 0
        upper = costs.upper(batch, terms.base, terms.student, answers, calls)
        if sees_lower(config):
            upper = costs.upper_with_lower(upper, lower, terms.student, barrier=config.solver == "dynamic-barrier")
            batch += config.batch
        steps = [costs.Step("upper", upper, config.upper_steps, batch)]
        if config.solver != "penalty":
            steps.insert(0, costs.Step("lower", lower, config.lower_steps, config.batch))
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
        """Train in place until the budget does not pay for another step.

        Upper steps read `materials.erase` or `materials.erase_named`, depending on the setting `prompts`.
        """
        from methods.bilevel.upper_level import upper_phase
        from methods.training.loop import freeze, train

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
