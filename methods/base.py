"""What a method is, what it is given, and where it leaves its traces.

This module imports no torch at run time, so that methods can be listed and configured in an instant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ValidationError

from benchmark.errors import UsageError
from benchmark.registry import unknown

if TYPE_CHECKING:
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

    from methods.budget import Budget, Entry, Ledger
    from methods.sampling import Sampler
    from prompts.concepts import Concept


class Data(Protocol):
    """Captioned latents, in memory or streamed."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return scaled latents x0 (N, 4, h, w) float32 and text hidden states (N, L, D) of the given rows."""
        ...


@dataclass(frozen=True)
class Materials:
    """What every method is given, whatever the testbed."""

    teacher: UNet2DConditionModel
    """The frozen base U-Net."""
    scheduler: dict[str, Any]
    """diffusers scheduler config: num_train_timesteps, betas, prediction_type."""
    retain: Data
    """D_f: plain pictures, none of them with the target."""
    erase: Data
    """Concept images made by (or for) the base, with their full captions."""
    erase_named: Data
    """The same images in the same order, each under words that name its target and nothing else."""
    null: Tensor
    """Hidden states of the empty prompt, (L, D)."""
    encode: Callable[[Sequence[str]], Tensor]
    """Texts -> hidden states (N, L, D)."""
    sampler: Sampler
    """The testbed's one sampling config."""
    preserve: Sequence[str]
    """Names of the same kind as the targets that are to stay, as far as the testbed knows any."""
    contrast: Mapping[str, Sequence[tuple[str, str]]]
    """For each target, prompts without it and the same prompts with it."""
    token_counts: Callable[[Sequence[str]], list[int]]
    """How many tokens each text has, without the marks of its start and end."""
    in_context: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """For each target and each name of `preserve`, captions in which the name follows what is shown, and the same
    captions without it: ("a boat in the style of Claude Monet", "a boat"). No suite asks for any of them."""


@dataclass(frozen=True)
class State:
    """A resumable moment of a fit: named tensors and JSON-ready facts."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


class Checkpointer(Protocol):
    """Keeps the last good state of a fit. Tensors handed to `save` are live: write or copy them during the call."""

    def load(self) -> State | None: ...

    def save(self, state: State) -> None: ...


Precision = Literal["fp32", "bf16"]
"""What U-Nets compute in; see methods/training/precision.py."""
Progress = Callable[[str, int, int, dict[str, float]], None]
"""(phase, steps done, steps in all, mean figures since the last call, such as loss)."""


@dataclass(frozen=True)
class Context:
    """Where a fit leaves its traces, and what it computes with. Its precision is part of the model's identity."""

    checkpoint: Checkpointer
    ledger: Ledger
    progress: Progress
    device: torch.device
    precision: Precision = "fp32"
    tell: Callable[[str], None] = lambda said: None
    """Takes a line that a person should read, such as that memory ran out and what was done about it."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    """Mean losses on the way, in order: `phase`, `iteration` (from 1), `flops` of all phases up to there, figures."""
    landmarks: Mapping[Budget, Callable[[UNet2DConditionModel, Sequence[Entry], list[dict[str, Any]]], None]] = field(
        default_factory=dict
    )
    """Smaller budgets whose models are wanted as well: each is handed over, to be copied, when a training of
    one phase has spent so much, with its account and its curve. It is what a fit with that budget would give."""


class Method(Protocol):
    """Adapter with one verb: pruned (or distilled, or base) U-Net + data + concept + budget -> U-Net."""

    name: ClassVar[str]
    summary: ClassVar[str]
    start: ClassVar[Literal["pruned", "distilled", "base"]]
    """What `fit` is handed as student. Where it is "distilled", `own_share` (0 to 1, optional, 0.2) says which part of
    the budget is the second stage's; the rest is spent on distillation. An unpruned base needs no distillation."""
    recipe: ClassVar[int]
    """Goes up when the code changes results."""
    erases: ClassVar[bool]
    """Whether `fit` depends on the concept at all."""
    presets: ClassVar[dict[str, dict[str, Any]]]
    """Named overrides of config fields; "default" is always among them."""
    Config: ClassVar[type[BaseModel]]
    """Its settings. Optional beside it: `strength`, the one that decides how much is erased (for trade-off curves)."""
    config: Any

    def __init__(self, config: Any) -> None: ...

    @property
    def uses_concept_images(self) -> bool:
        """Whether `fit` reads `materials.erase`; making those images is then charged to its budget. May be a plain
        attribute of the class."""
        ...

    # Optional: `cycle(terms)`, the steps that `fit` repeats until its budget is spent (see methods/costs.py). With
    # it, `bench estimate` knows what a budget of iterations costs. And `check(student, concept)`, UsageError for a
    # U-Net that lacks what it moves, which is asked before the distillation that it starts from.

    def fit(
        self,
        student: UNet2DConditionModel,
        materials: Materials,
        concept: Concept,
        budget: Budget,
        context: Context,
        seed: int,
    ) -> UNet2DConditionModel:
        """Train `student` in place, spend at most `budget`, and return it in evaluation mode."""
        ...


def configure(method: type[Method], preset: str = "default", **overrides: Any) -> Method:
    """Make a method from one of its presets and overrides of single fields.

    UsageError for a wrong one, and for a class that is not a method, such as a stranger's unfinished one.
    """
    lacking = [
        name
        for name in (*Method.__annotations__, "uses_concept_images", "fit")
        if name != "config" and not hasattr(method, name)
    ]
    if lacking:
        what = getattr(method, "__name__", repr(method))
        raise UsageError(f"{what} is not a method yet, it lacks {', '.join(lacking)}: see methods/base.py, Method.")
    if preset not in method.presets:
        raise unknown(f"{method.name} preset", preset, list(method.presets))
    try:
        return method(method.Config(**{**method.presets[preset], **overrides}))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # fields that contradict each other
            raise UsageError(f"Method '{method.name}': {first['msg'].removeprefix('Value error, ')}.") from error
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise unknown(f"{method.name} setting", field, list(method.Config.model_fields)) from error
        raise UsageError(f"Method '{method.name}', setting '{field}': {first['msg']}.") from error
