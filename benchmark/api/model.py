"""Models by what made them: base, pruned, fitted. Weights are loaded, or made, at their first use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmark.json_types import Counted, CurveRow, Identity

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from methods.budget import LedgerRow


@dataclass(frozen=True)
class TrainingFacts:
    """How a model was made, in the words of its records: the fields of `Record` with the same names."""

    method: str
    preset: str = "default"
    variant: str = "default"
    solver: str | None = None
    data: str = "plain"
    budget: dict[str, float | int | bool | None] = field(default_factory=dict)
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
        identity: Identity,
        facts: TrainingFacts,
        setting: Identity | None = None,
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

    def ledger(self) -> list[LedgerRow]:
        """What its training cost, phase by phase. Trains it where that is not known: all processes call it then."""
        return []

    def curve(self) -> list[CurveRow]:
        """Mean losses along its training, thinned; empty where none were kept."""
        return []

    def counted(self) -> Counted:
        """Share of the base's MACs, how they were counted, and what choosing them cost."""
        return {"share": 1.0}
