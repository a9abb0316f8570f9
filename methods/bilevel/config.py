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
    upper_batch: int | None = identity(None, "Images an upper step; as many as in a lower step if not given.", ge=1)
    upper_rate: float = identity(2.5, "Learning rate of upper steps, in the scale of their optimiser.", gt=0)
    upper_optimiser: Literal["sgd", "adamw"] = identity(
        "sgd", "Optimiser of upper steps: plain gradient descent, or AdamW, which moves every weight about equally far."
    )
    objective: str = identity(
        "negative-guidance", "L_CU: an upper objective by name (`bench list objectives`), or path/to/file.py:Class."
    )
    upper_data: Literal["dataset", "sampled"] = identity(
        "dataset", "x_t of upper steps: noised concept images, or latents that the trained model itself denoises."
    )
    prompts: Literal["name", "caption"] = identity("name", "Texts that upper steps unlearn: target names, or captions.")
    penalty: float = identity(0.0, "lambda, the weight of Eq. 8 in the upper step.", ge=0)
    alpha: float = identity(1.0, "Dynamic barrier: least decrease of L_ft; 1 is that of its own gradient step.", ge=0)
    eta: float = identity(1.0, "Strength of negative guidance: target e_null - eta (e_caption - e_null).", ge=0)
    parameters: Literal["all", "attn2", "attn2-kv"] = identity(
        "attn2", "Weights that upper steps train: all, cross-attention, or its keys and values alone."
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        check_objective(self.objective)
        if self.solver == "penalty" and not self.penalty:
            raise ValueError("solver 'penalty' needs a penalty above 0, such as --set penalty=100")
        if self.solver == "dynamic-barrier" and self.upper_optimiser != "sgd":
            raise ValueError("solver 'dynamic-barrier' protects the lower level only under upper_optimiser 'sgd'")
        return self


def check_objective(name: str) -> None:
    """Raise `UsageError` if there is no upper objective of this name, or if it lacks an attribute."""
    objective = registry.load("objectives", name)
    if not (isclass(objective) and issubclass(objective, UpperObjective)):
        raise UsageError(f"{name} is not an upper objective: let it inherit from UpperObjective of benchmark.api.")
    inherited = (UpperObjective, object)
    declared = {attribute for parent in objective.__mro__ if parent not in inherited for attribute in vars(parent)}
    if missing := [attribute for attribute in ("name", "summary", "asks", "target") if attribute not in declared]:
        raise UsageError(
            f"{name} is not an upper objective yet, it lacks {', '.join(missing)}: see methods/objective.py."
        )
    for fault in _faults(objective):
        raise UsageError(f"{name} is not an upper objective yet, its {fault}: see methods/objective.py.")


def _faults(objective: type[UpperObjective]) -> Iterator[str]:
    """What is wrong with the attributes of an upper objective."""
    for text_name, text in (("name", objective.name), ("summary", objective.summary)):
        if not (isinstance(text, str) and text.strip()):
            yield f"{text_name} must be a text, not {text!r}"
    asks = objective.asks
    if isinstance(asks, str) or not asks or not set(asks) <= set(ASKED):
        yield f'asks must be a tuple of {", ".join(ASKED)}, such as ("null",), not {asks!r}'
    try:
        signature(objective.target).bind("answers", "eta")
    except TypeError as error:
        yield f"target cannot be called as target(answers, eta) ({error}): declare it as a @staticmethod"


def sees_lower(config: BilevelConfig) -> bool:
    """Whether upper steps also compute Eq. 8."""
    return bool(config.penalty) or config.solver == "dynamic-barrier"


AUTHORS: Settings = {"prompts": "caption", "parameters": "all", "upper_optimiser": "adamw"}
"""Settings of upper steps in the authors' code."""
