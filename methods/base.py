"""The base class of methods, the data that they receive, and where they write checkpoints, costs and losses.

This module imports no torch at run time, so that methods can be listed and configured quickly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import isclass, signature
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.errors import PalimpsestError, UsageError
from benchmark.json_types import CurveRow, JsonObject, NetworkConfig, Settings
from benchmark.registry import unknown
from methods.config_fields import check_classified

if TYPE_CHECKING:
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

    from methods.budget import Budget, Entry, Ledger
    from methods.costs import Step, Terms
    from methods.sampling import Sampler
    from prompts.concepts import Concept


class Data(Protocol):
    """Captioned latents, in memory or streamed."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return scaled latents x0 (N, 4, h, w) float32 and text hidden states (N, L, D) of the given rows."""
        ...


class FileData(ABC):
    """Captioned latents whose pictures are read from files, which worker processes can do before a step needs them."""

    reader: Callable[[Sequence[int]], Tensor]
    """Reads some rows from their files, without a network or a device. It can be pickled."""
    row_bytes: int
    """Size in bytes of one row that `reader` returns."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def encoded(self, indices: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return scaled latents x0 (N, 4, h, w) float32 and text hidden states (N, L, D) of the given rows.

        Args:
            indices: numbers of the rows (N,).
            rows: what `reader` has read for them.
        """

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Read and encode the given rows; see `Data.batch`."""
        return self.encoded(indices, self.reader(indices.tolist()))


@dataclass(frozen=True)
class Materials:
    """Networks, data and settings that every method receives, with the same fields on every testbed."""

    teacher: UNet2DConditionModel
    """The frozen base U-Net."""
    scheduler: NetworkConfig
    """diffusers scheduler config: num_train_timesteps, betas, prediction_type."""
    retain: Data
    """D_f: plain pictures without the target."""
    erase: Data
    """Concept images, sampled from the base or provided with it, with their full captions."""
    erase_named: Data
    """The same images in the same order; each caption names the target and nothing else."""
    null: Tensor
    """Hidden states of the empty prompt, (L, D)."""
    encode: Callable[[Sequence[str]], Tensor]
    """Encodes N texts to hidden states (N, L, D)."""
    sampler: Sampler
    """The sampling settings of the testbed."""
    preserve: Sequence[str]
    """Names of the same kind as the targets that must be kept; empty if the testbed has none."""
    contrast: Mapping[str, Sequence[tuple[str, str]]]
    """For each target, pairs of a prompt without it and the same prompt with it."""
    token_counts: Callable[[Sequence[str]], list[int]]
    """Counts the tokens of each text, without the start and end tokens."""
    in_context: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """For each target and each name of `preserve`, captions that end with the name, and the same captions without
    it: ("a boat in the style of Claude Monet", "a boat"). No suite has any of them as a prompt."""
    erase_seconds: float = 0.0
    """Wall time in seconds that was needed to create the concept images, even if an earlier run created them."""


@dataclass(frozen=True)
class State:
    """A checkpoint of a fit: named tensors, and metadata that can be written as JSON."""

    tensors: dict[str, Tensor]
    meta: JsonObject


class Checkpointer(Protocol):
    """Stores the latest checkpoint of a fit.

    The training changes the tensors after `save` returns, so `save` must write or copy them first.
    """

    def load(self) -> State | None:
        """Return the stored checkpoint, or None if there is none."""
        ...

    def save(self, state: State) -> None:
        """Replace the stored checkpoint."""
        ...


Start = Literal["pruned", "distilled", "base"]
"""The models that a method can start from."""
Precision = Literal["fp32", "bf16"]
"""Floating-point precision of U-Nets; see methods/training/precision.py."""
Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called with (phase, steps done, total steps, values). The values are means since the last call, the loss first, and
in training loops the "learning rate" of the last step."""


@dataclass(frozen=True)
class Context:
    """Where a fit writes checkpoints, costs and losses, and the device and precision that it computes with.

    The precision is part of the model's identity.
    """

    checkpoint: Checkpointer
    ledger: Ledger
    progress: Progress
    device: torch.device
    precision: Precision = "fp32"
    tell: Callable[[str], None] = lambda message: None
    """Shows one line to the user, for example that memory ran out and that batches were split."""
    workers: int = 0
    """Processes that read training pictures ahead of the steps; 0 for none."""
    data_waits: list[float] = field(default_factory=list)
    """For each training, the seconds that it waited for picture files."""
    curve: list[CurveRow] = field(default_factory=list)
    """Mean losses during training, in order: `phase`, `iteration` (from 1), `flops` of all phases so far, losses."""
    landmarks: Mapping[Budget, Callable[[UNet2DConditionModel, Sequence[Entry], list[CurveRow]], None]] = field(
        default_factory=dict
    )
    """Smaller budgets whose models are also needed, each with a function that stores the model.

    A training with a single phase calls the function once it has spent that budget, with the student, its ledger
    entries and its curve. The student is then the same as after a fit with that budget.
    """


class NoSettings(BaseModel):
    """The config of a method without settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method:
    """A way to erase a concept: `fit` turns a pruned (or distilled, or base) U-Net into one that has forgotten it.

    A subclass must declare `name`, `summary`, `start` and `fit`; everything else has a default.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for `bench list methods`."""
    start: ClassVar[Start]
    """The model that `fit` receives as student. An unpruned base needs no distillation."""
    recipe: ClassVar[int] = 1
    """Version number of the procedure; raise it when a change of the code changes results."""
    erases: ClassVar[bool] = True
    """Whether `fit` depends on the concept at all."""
    reads_kept_names: ClassVar[bool] = True
    """Whether `fit` reads names of other concepts than the targets: `materials.preserve`, `concept.neighbours` and
    their captions in `materials.in_context`. If False, it receives none of them, and models for different values of
    `--kept-names` are the same."""
    strength: ClassVar[str] = ""
    """The setting that controls how much is erased, which trade-off curves vary; empty if there is none."""
    presets: ClassVar[dict[str, Settings]] = {"default": {}}
    """Named overrides of config fields; "default" is always among them."""
    Config: ClassVar[type[BaseModel]] = NoSettings
    """Settings of the method, a pydantic model whose fields are declared by `identity` or `runtime`."""
    config: Any

    def __init__(self, config: Any = None) -> None:
        self.config = config or self.Config()

    @property
    def own_share(self) -> float:
        """If `start` is "distilled", the share (0 to 1) of the budget that `fit` may spend; distillation spends the
        rest."""
        return 0.2

    @property
    def uses_concept_images(self) -> bool:
        """Whether `fit` reads `materials.erase` or `materials.erase_named`.

        The cost of these images is then charged to the budget.
        """
        return True

    @property
    def solver(self) -> str | None:
        """The solver that records and tables state, for methods that have several."""
        return None

    def cycle(self, terms: Terms) -> list[Step] | None:
        """Return the steps that `fit` repeats until its budget is spent, or None if that is not known.

        `bench estimate` computes costs from them, and budgets that are too small are reported before any training.
        """
        return None

    def check(self, student: UNet2DConditionModel, concept: Concept) -> None:
        """Raise `UsageError` for a U-Net that lacks the weights that `fit` changes; called before distillation."""

    def fit(
        self,
        student: UNet2DConditionModel,
        materials: Materials,
        concept: Concept,
        budget: Budget,
        context: Context,
        seed: int,
    ) -> UNet2DConditionModel:
        """Train `student` in place, spend no more than `budget`, and return it in evaluation mode."""
        raise NotImplementedError


REQUIRED = ("name", "summary", "start", "fit")
"""What every method must declare, or inherit from a different method."""
FIT = ("student", "materials", "concept", "budget", "context", "seed")
"""Arguments of `fit`, in this order."""


def check_method(method: Any) -> None:
    """Check that a class implements `Method`.

    Raises:
        UsageError: something is missing or has the wrong type; the message names it.
    """
    class_name = method.__name__ if isclass(method) else repr(method)
    if not (isclass(method) and issubclass(method, Method)):
        raise UsageError(f"{class_name} is not a method: it must inherit from Method of benchmark.api.")
    declared = {name for parent in method.__mro__ if parent not in (Method, object) for name in vars(parent)}
    if missing := [name for name in REQUIRED if name not in declared]:
        raise UsageError(
            f"{class_name} is not a complete method: it lacks {', '.join(missing)}: see Method in methods/base.py."
        )
    for name, fault in _find_faults(method):
        raise UsageError(f"{class_name} is not a valid method: its {name} {fault}: see Method in methods/base.py.")
    check_classified(method.Config)
    for preset, settings in method.presets.items():
        for field_name in settings:
            if field_name not in method.Config.model_fields:
                nearest = unknown(f"{method.name} setting", field_name, list(method.Config.model_fields))
                raise UsageError(
                    f"{class_name} is not a valid method: its preset '{preset}' sets an unknown field. {nearest}"
                )


def _find_faults(method: type[Method]) -> Iterator[tuple[str, str]]:
    """Yield each invalid attribute of a method, with a description of the error."""
    for name in ("name", "summary"):
        text = getattr(method, name)
        if not (isinstance(text, str) and text.strip() and text.isprintable()):
            yield name, f"must be a string of one line, not {text!r}"
    if method.start not in get_args(Start):
        yield "start", f"must be {', '.join(get_args(Start))}, not {method.start!r}"
    if type(method.recipe) is not int:
        yield "recipe", f"must be an integer, not {method.recipe!r}"
    for name in ("erases", "reads_kept_names"):
        if type(getattr(method, name)) is not bool:
            yield name, f"must be True or False, not {getattr(method, name)!r}"
    if not (isclass(method.Config) and issubclass(method.Config, BaseModel)):
        yield (
            "Config",
            "must be a pydantic model (class Config(BaseModel)) whose fields are identity(...) or runtime(...)",
        )
        return
    presets = method.presets
    if not (isinstance(presets, dict) and "default" in presets and all(isinstance(p, dict) for p in presets.values())):
        yield "presets", 'must be a dict of presets with "default" among them, such as {"default": {}}'
    if method.strength and method.strength not in method.Config.model_fields:
        yield "strength", f"must be a field of its Config, not {method.strength!r}"
    call = f"fit(self, {', '.join(FIT)})"
    if not callable(method.fit):
        yield "fit", f"must be a function, {call}"
        return
    parameters = signature(method.fit)
    try:
        names = list(parameters.bind("self", *FIT).arguments)[1:]
    except TypeError as error:
        yield "fit", f"cannot be called as {call} ({error})"
        return
    if misplaced := [name for name, expected in zip(names, FIT, strict=False) if name in FIT and name != expected]:
        yield "fit", f"has '{misplaced[0]}' in a different position than {call}"


def configure(method: type[Method], preset: str = "default", **overrides: Any) -> Method:
    """Return an instance of a method with the settings of a preset and overrides of single fields.

    Raises:
        UsageError: the preset or a field does not exist, a value is invalid, or the class lacks a part of `Method`.
    """
    check_method(method)
    if preset not in method.presets:
        raise unknown(f"{method.name} preset", preset, list(method.presets))
    try:
        config = method.Config(**{**method.presets[preset], **overrides})
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # fields that contradict each other
            raise UsageError(f"Method '{method.name}': {first['msg'].removeprefix('Value error, ')}.") from error
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise unknown(f"{method.name} setting", field, list(method.Config.model_fields)) from error
        raise UsageError(f"Method '{method.name}', setting '{field}': {first['msg']}.") from error
    try:
        instance = method(config)
        is_set = vars(instance).get("config") is config
        share = instance.own_share if is_set else 0.0
    except PalimpsestError:
        raise
    except Exception as error:  # raised by the plug-in's code
        raise UsageError(
            f"Method '{method.name}' cannot be created, {method.__name__}(config) raises "
            f"{type(error).__name__}: {error}."
        ) from error
    if not is_set:
        raise UsageError(
            f"Method '{method.name}' does not store its settings: {method.__name__}.__init__ must take `config` and "
            "call super().__init__(config)."
        )
    if not (isinstance(share, int | float) and 0 <= share <= 1):
        raise UsageError(f"Method '{method.name}': own_share must be a share from 0 to 1, not {share!r}.")
    return instance
