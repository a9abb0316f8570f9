"""Settings of `bilevel`."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import isclass, signature
from typing import Literal, Self

from pydantic import model_validator

from benchmark import registry
from benchmark.errors import UsageError
from benchmark.json_types import Settings
from methods.config_fields import identity
from methods.distilled import DistilledConfig
from methods.objective import ASKED, UpperObjective


class BilevelConfig(DistilledConfig):
    """Settings of both levels. The fields of the lower level are those of `distilled`."""

    solver: Literal["alternating", "penalty", "dynamic-barrier"] = identity(
        "alternating",
        "alternating: K lower steps, then an upper step. penalty: both losses at every step. dynamic-barrier: K lower "
        "steps, then an upper step that does not undo them.",
    )
    lower_steps: int = identity(20, "K, the lower steps before each upper step.", ge=1)
    upper_steps: int = identity(1, "Upper steps in a row; the paper takes one.", ge=1)
    upper_batch: int | None = identity(None, "Images per upper step; by default as many as in a lower step.", ge=1)
    upper_rate: float = identity(2.5, "Learning rate of upper steps; suitable values depend on upper_optimiser.", gt=0)
    upper_optimiser: Literal["sgd", "adamw"] = identity(
        "sgd", "Optimiser of upper steps: plain gradient descent, or AdamW, which moves every weight about equally far."
    )
    objective: str = identity(
        "negative-guidance", "L_CU: an upper objective by name (`bench list objectives`), or path/to/file.py:Class."
    )
    upper_data: Literal["dataset", "sampled"] = identity(
        "dataset",
        "x_t of upper steps: noised concept images (dataset), or latents sampled from the trained model (sampled).",
    )
    prompts: Literal["name", "caption"] = identity(
        "name", "Prompts that upper steps unlearn: target names, or captions."
    )
    penalty: float = identity(0.0, "lambda, the weight of Eq. 8 in the upper step.", ge=0)
    alpha: float = identity(
        1.0, "Dynamic barrier: smallest decrease of L_ft, as a multiple of that of a gradient step on L_ft.", ge=0
    )
    eta: float = identity(1.0, "Strength of negative guidance: target e_null - eta (e_caption - e_null).", ge=0)
    parameters: Literal["all", "attn2", "attn2-kv"] = identity(
        "attn2", "Weights that upper steps train: all, cross-attention, or only its keys and values."
    )

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        check_objective(self.objective)
        if self.solver == "penalty" and not self.penalty:
            raise ValueError("solver 'penalty' needs a penalty above 0, such as --set penalty=100")
        if self.solver == "dynamic-barrier" and self.upper_optimiser != "sgd":
            raise ValueError("solver 'dynamic-barrier' protects the lower level only under upper_optimiser 'sgd'")
        return self


def check_objective(name: str) -> None:
    """Raise `UsageError` if no upper objective has this name, or if an attribute of it is missing or invalid."""
    objective = registry.load("objectives", name)
    if not (isclass(objective) and issubclass(objective, UpperObjective)):
        raise UsageError(f"{name} is not an upper objective: it must inherit from UpperObjective of benchmark.api.")
    inherited = (UpperObjective, object)
    declared = {attribute for parent in objective.__mro__ if parent not in inherited for attribute in vars(parent)}
    if missing := [attribute for attribute in ("name", "summary", "asks", "target") if attribute not in declared]:
        raise UsageError(
            f"{name} is not a complete upper objective: it lacks {', '.join(missing)}: see methods/objective.py."
        )
    for fault in _find_faults(objective):
        raise UsageError(f"{name} is not a valid upper objective: its {fault}: see methods/objective.py.")


def _find_faults(objective: type[UpperObjective]) -> Iterator[str]:
    """Yield a description of each invalid attribute of an upper objective."""
    for text_name, text in (("name", objective.name), ("summary", objective.summary)):
        if not (isinstance(text, str) and text.strip()):
            yield f"{text_name} must be a non-empty string, not {text!r}"
    asks = objective.asks
    if isinstance(asks, str) or not asks or not set(asks) <= set(ASKED):
        yield f'asks must be a tuple of {", ".join(ASKED)}, such as ("null",), not {asks!r}'
    try:
        signature(objective.target).bind("answers", "eta")
    except TypeError as error:
        yield f"target cannot be called as target(answers, eta) ({error}): declare it as a @staticmethod"


def sees_lower(config: BilevelConfig) -> bool:
    """Return whether upper steps also compute the lower-level loss (Eq. 8)."""
    return bool(config.penalty) or config.solver == "dynamic-barrier"


AUTHORS: Settings = {"prompts": "caption", "parameters": "all", "upper_optimiser": "adamw"}
"""Settings of upper steps in the authors' code."""
