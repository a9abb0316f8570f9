"""Checkpoints of an APTP search: weights of the router, Adam's moments, and the losses of each step.

Nothing else needs to be saved, because the random numbers of a step depend only on the seed and the step.
"""

from typing import Any

import torch

from benchmark.errors import DataError
from methods.base import State
from methods.pruning.aptp.router import Router

History = list[dict[str, float]]
"""Losses of each step, in order."""


def steps_of(state: State | None) -> int:
    """Return the number of steps that were done when a state was saved; 0 for None."""
    return len(state.meta["told"]) if state else 0


def state_of(router: Router, optimiser: torch.optim.Optimizer, history: History) -> State:
    """Return the state after `len(history)` steps. Its tensors are not copies, so further training changes them."""
    tensors = {f"router/{name}": weight.detach() for name, weight in router.named_parameters()}
    for name, weight in router.named_parameters():  # codes have no moments before they are trained
        tensors |= {f"{moment}/{name}": value for moment, value in optimiser.state.get(weight, {}).items()}
    return State(tensors, {"told": list(history)})


def restore(state: State | None, router: Router, optimiser: torch.optim.Optimizer) -> History:
    """Load a state into router and optimiser, and return the losses of earlier steps (empty without a state).

    Raises:
        DataError: the state belongs to a different search.
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
        raise DataError(
            f"The checkpoint belongs to a different search ({error}): delete it to start from the beginning."
        ) from error
