"""Models by what made them: base, pruned, fitted. Weights are loaded, or made, only when something asks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


@dataclass(frozen=True)
class Model:
    """A U-Net known by its identity, with the facts that its records will state."""

    label: str
    identity: dict[str, Any]
    facts: dict[str, Any]  # record fields: method, preset, variant, solver, data, budget, seed, recipe, pruning, macs
    load: Callable[[], UNet2DConditionModel]
    ledger: Callable[[], list[dict[str, Any]]]
    """What its training cost, phase by phase. Trains it where that is not known; then called by all processes."""
    curve: Callable[[], list[dict[str, Any]]]
    """Mean losses along its training, thinned; none where none were kept."""
    counted: Callable[[], dict[str, Any]]
    """Share of the base's MACs, how they were counted, and what choosing them cost."""
    setting: dict[str, Any] | None = None
    """The identity with training seed 0, which all seeds of one setting share; None where that is its own."""
    train: Callable[[], None] = lambda: None
    """Trains it where the store lacks its cost, or waits for another run that does; called by all processes together.
    A model whose cost is known, as that of one which ships without weights, is trained when it is first loaded."""
