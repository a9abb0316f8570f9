"""The interface of a scored model, its components, and the facts that records state about its training.

Weights are loaded, or trained if the store lacks them, when they are first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from benchmark.json_types import Counted, CurveRow, Identity, JsonObject, NetworkConfig

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

    from benchmark.api.testbed import Testbed, Workbench
    from benchmark.records.record import Plugin
    from methods.budget import LedgerRow
    from prompts.lists import Prompt


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


@dataclass(frozen=True)
class Components:
    """The networks and the noise schedule that sample a model's pictures."""

    unet: UNet2DConditionModel
    encode: Callable[[Sequence[str]], Tensor]
    """A function from texts to hidden states (N, L, D). It is not thread-safe."""
    decode: Callable[[Tensor], Tensor]
    """A function from scaled latents (N, 4, h, w) to pictures uint8 (N, 3, H, W)."""
    scheduler: NetworkConfig
    """The scheduler's config: num_train_timesteps, betas, prediction_type."""

    @cached_property
    def null(self) -> Tensor:
        """Hidden states (L, D) of the empty prompt."""
        return self.encode([""])[0]


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

    def components(self, testbed: Testbed) -> Components:
        """Return the components that sample its pictures: its U-Net, and by default the testbed's other parts."""
        return Components(self.load(), testbed.encode, testbed.decode, testbed.scheduler)

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

    def config(self) -> JsonObject:
        """Return all settings of its training with their resolved values, as JSON; empty if nothing is trained."""
        return {}

    def plugins(self) -> list[Plugin]:
        """Return the plug-ins that decide its weights or pictures, with the checksums of the code that was loaded."""
        return []

    def counted(self) -> Counted:
        """Return the share of the base's MACs, how they were counted, and the cost of choosing what to prune."""
        return {"share": 1.0}


class PictureSource(Model):
    """A model whose pictures are not sampled by this package: a function generates them, or they exist as files."""

    def pictures(self, bench: Workbench, prompts: Sequence[Prompt]) -> list[Tensor]:
        """Return one picture uint8 (3, H, W) per prompt, in order. Calls are never concurrent."""
        raise NotImplementedError
