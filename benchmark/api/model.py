"""The interface of a scored model, and the facts that records state about its training.

Weights are loaded, or trained if the store lacks them, when they are first needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmark.json_types import Counted, CurveRow, Identity

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from methods.budget import LedgerRow


@dataclass(frozen=True)
class TrainingFacts:
    """How a model was trained. Each field is stored in the `Record` field of the same name."""

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
    """A U-Net with an identity. This base class suits models that this package does not train.

    Args:
        label: its name in tables.
        identity: everything that decides its weights, in canonical JSON types.
        facts: how it was trained.
        setting: the identity with training seed 0, shared by all training seeds of one configuration; by default
            `identity` itself.
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
        """Return the U-Net in fp32 on the run's device. Trains it first if the store lacks it."""
        raise NotImplementedError

    def train(self) -> None:
        """Train the model if the store lacks its training cost, or wait for another run that is training it.

        All processes of a distributed run must call it. A model whose cost is already stored but whose weights are
        not, such as one shipped without weights, is trained by `load` instead.
        """

    def ledger(self) -> list[LedgerRow]:
        """Return the cost of each training phase.

        Trains the model first if its cost is not stored; in a distributed run all processes must then call it.
        """
        return []

    def curve(self) -> list[CurveRow]:
        """Return the mean training losses, thinned to a bounded number of rows; empty if none were saved."""
        return []

    def counted(self) -> Counted:
        """Return the share of the base's MACs, how they were counted, and the cost of choosing what to prune."""
        return {"share": 1.0}
