"""What a search must keep to go on from where it was stopped: router, Adam's moments, and what was told of each step.

Nothing else changes from step to step, for what is drawn depends on the step alone.
"""

from typing import Any

import torch

from benchmark.errors import DataError
from methods.base import State
from methods.pruning.aptp.router import Router

Told = list[dict[str, float]]
"""Figures of each step, in order."""


def steps_of(state: State | None) -> int:
    """Return how many steps a state has made."""
    return len(state.meta["told"]) if state else 0


def state_of(router: Router, optimiser: torch.optim.Optimizer, told: Told) -> State:
    """Return the state after `len(told)` steps, its tensors live."""
    tensors = {f"router/{name}": weight.detach() for name, weight in router.named_parameters()}
    for name, weight in router.named_parameters():  # none of the codes' before they are learnt
        tensors |= {f"{moment}/{name}": value for moment, value in optimiser.state.get(weight, {}).items()}
    return State(tensors, {"told": list(told)})


def restore(state: State | None, router: Router, optimiser: torch.optim.Optimizer) -> Told:
    """Put a state back, and return what was told up to it; nothing where there is none.

    Raises:
        DataError: the state is of another search.
    """
    if state is None:
        return []
    weights: dict[str, Any] = dict(router.named_parameters())
    try:
        for key, value in state.tensors.items():
            kind, name = key.split("/")
            if kind == "router":
                weights[name].data.copy_(value)
            else:
                optimiser.state[weights[name]][kind] = value
        return list(state.meta["told"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise DataError(f"The checkpoint is of another search ({error}): remove it to start afresh.") from error
