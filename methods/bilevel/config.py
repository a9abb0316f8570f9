"""Settings of `bilevel`."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from benchmark import registry
from benchmark.errors import UsageError
from methods.bilevel.objectives import ASKED
from methods.config_fields import identity
from methods.distilled import DistilledConfig


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
            f"{name} is not an upper objective: see methods/bilevel/objectives.py. It needs `target` and `asks`, of "
            f"{', '.join(ASKED)}."
        )


def sees_lower(config: BilevelConfig) -> bool:
    """Whether an upper step looks at Eq. 8 as well."""
    return bool(config.penalty) or config.solver == "dynamic-barrier"


AUTHORS: dict[str, Any] = {"prompts": "caption", "parameters": "all", "upper_optimiser": "adamw"}
"""What the authors' upper steps read and move, and how."""
