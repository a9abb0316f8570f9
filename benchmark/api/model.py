"""Models by what made them: base, pruned, fitted. Weights are loaded, or made, at their first use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


@dataclass(frozen=True)
class TrainingFacts:
    """How a model was made, in the words of its records: the fields of `Record` with the same names."""

    method: str
    preset: str = "default"
    variant: str = "default"
    solver: str | None = None
    data: str = "plain"
    budget: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    recipe: int = 1
    pruning: str = "none"
    macs: float = 1.0


class Model:
    """A U-Net known by its identity. The base class is of a model that is not trained here.

    Args:
        label: its name in tables.
        identity: everything that decides its weights, in canonical JSON types.
        facts: how it was made.
        setting: the identity with training seed 0, which all seeds of one setting share; None for `identity` itself.
    """

    def __init__(
        self,
        label: str,
        identity: dict[str, Any],
        facts: TrainingFacts,
        setting: dict[str, Any] | None = None,
    ) -> None:
        self.label, self.identity, self.facts = label, identity, facts
        self.setting = identity if setting is None else setting

    def load(self) -> UNet2DConditionModel:
        """The U-Net in fp32 on the run's device, trained first where the store lacks it."""
        raise NotImplementedError

    def train(self) -> None:
        """Train it where the store lacks its cost, or wait for another run that does; all processes call it together.

        A model whose cost is known, such as one that ships without weights, is trained when it is first loaded.
        """

    def ledger(self) -> list[dict[str, Any]]:
        """What its training cost, phase by phase. Trains it where that is not known: all processes call it then."""
        return []

    def curve(self) -> list[dict[str, Any]]:
        """Mean losses along its training, thinned; empty where none were kept."""
        return []

    def counted(self) -> dict[str, Any]:
        """Share of the base's MACs, how they were counted, and what choosing them cost."""
        return {"share": 1.0}
