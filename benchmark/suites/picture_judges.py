"""Judges of a concept file that see the pictures themselves: a classifier, or a function of the user's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field

from benchmark import registry
from benchmark.errors import DataError, UsageError
from benchmark.suites import plugins
from benchmark.suites.judges import Judge, JudgeSettings

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.api.suite import Evidence
    from benchmark.api.testbed import Testbed
    from metrics.encoders import Encoder

JOB = "judge"
"""Job of the judge's network, whose features are the scores (N, 1)."""
TRIED = 3
"""Number of random pictures that a judge is tried on."""


class PictureJudge(Judge):
    """A judge with a network of its own, whose features (N, 1) are the scores."""

    def name(self, testbed: Testbed) -> str:
        return self.networks("cpu")[JOB].name

    def check(self, testbed: Testbed) -> str:
        import torch

        side = testbed.sampler.latent_size * testbed.pixels
        pictures = torch.randint(
            0, 256, (TRIED, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        )
        scores = self.networks("cpu")[JOB](pictures)[:, 0].tolist()
        return f"scores random pictures of {side} x {side} pixels with {', '.join(f'{score:.2f}' for score in scores)}"

    def scores(self, evidence: Evidence) -> Tensor:
        return evidence.own[JOB][:, 0].double()


class ClassifierSettings(JudgeSettings):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=False)

    by: Literal["classifier"]
    architecture: str = Field(min_length=1)
    weights: str = Field(min_length=1)
    label: int | str = Field(alias="class")
    classes: int | list[str] = 1000
    library: Literal["torchvision", "timm"] = "torchvision"
    size: int = Field(224, ge=1)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class ClassifierJudge(PictureJudge):
    """Scores the probability of a class, by a classifier of torchvision or timm with the user's weights.

    The probability is the softmax over all classes, or the sigmoid of a single output.
    """

    def __init__(self, settings: ClassifierSettings, where: str, folder: Path) -> None:
        super().__init__(settings, where)
        self.settings, self.weights = settings, folder / Path(settings.weights).expanduser()
        self.count = settings.classes if isinstance(settings.classes, int) else len(settings.classes)
        if self.count < 1:
            raise DataError(f"{where}: judge.classes must name at least one class, or be their number.")
        if isinstance(settings.label, int) and not 0 <= settings.label < self.count:
            raise DataError(f"{where}: judge.class is {settings.label}, but must be from 0 to {self.count - 1}.")
        self._by_device: dict[str, Encoder] = {}
        self._checksum = ""

    def checksums(self) -> Mapping[str, str]:
        if not self._checksum:
            try:
                with open(self.weights, "rb") as opened:
                    self._checksum = hashlib.file_digest(opened, "sha256").hexdigest()
            except OSError as error:
                raise DataError(
                    f"{self.where}: the weights {self.weights} of the judge cannot be read ({error.strerror})."
                ) from error
        return {JOB: self._checksum}

    def networks(self, device: str) -> Mapping[str, Encoder]:
        if device not in self._by_device:
            self._by_device[device] = self._encoder(device)
        return {JOB: self._by_device[device]}

    def _encoder(self, device: str) -> Encoder:
        from metrics.encoders import PillowEncoder
        from metrics.networks.classifier import classifier, preparation

        settings = self.settings
        network = classifier(settings.library, settings.architecture, self.weights, self.count)
        module = _probability(network, self._index(), self.count).to(device)
        facts = [
            self.checksums()[JOB],
            self._index(),
            settings.model_dump(mode="json", exclude={"threshold", "weights"}),
        ]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
        prepare = preparation(settings.size, settings.mean, settings.std)
        return PillowEncoder(f"{settings.architecture}-{digest}", module, 1, prepare)

    def _index(self) -> int:
        """Return the number of the class, from 0."""
        from metrics.networks.classifier import imagenet_names

        label, names = self.settings.label, self.settings.classes
        if isinstance(label, int):
            return label
        if isinstance(names, int):
            if names != 1000:
                raise DataError(
                    f"{self.where}: judge.class is the name {label!r}, but judge.classes is a number: list the names "
                    "of all classes there, in the order of the network's outputs."
                )
            names = imagenet_names()
        if label not in names:
            raise DataError(f"{self.where}: {registry.unknown('class of judge', label, list(names))}")
        return names.index(label)


def _probability(network: Any, index: int, count: int) -> Any:
    """Return a module that maps images (n, 3, s, s) to the probability (n, 1) of a class."""
    from torch import nn

    class Probability(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.network(images)
            return logits.sigmoid() if count == 1 else logits.softmax(1)[:, index : index + 1]

    return Probability()


class FunctionSettings(JudgeSettings):
    by: Literal["function"]
    function: str = Field(min_length=1)


class FunctionJudge(PictureJudge):
    """Scores pictures by a function of the user's: pictures (N, 3, H, W) uint8 -> N scores in 0..1."""

    repeatable = False  # it can read files that are not known here

    def __init__(self, settings: FunctionSettings, where: str, folder: Path) -> None:
        super().__init__(settings, where)
        if ".py:" not in settings.function:
            raise DataError(
                f"{where}: judge.function is {settings.function!r}, but must be path/to/file.py:function, with the "
                "path relative to the concept's file."
            )
        written = settings.function
        self.function = written if written.startswith("~") else str(folder / written)

    def checksums(self) -> Mapping[str, str]:
        return {JOB: registry.fingerprint(self.function) or ""}

    def networks(self, device: str) -> Mapping[str, Encoder]:
        return {JOB: _FunctionEncoder(self.function, f"{self.where}: the judge")}


class _FunctionEncoder:
    """Makes a user's function an encoder, and checks what it returns."""

    size = 1

    def __init__(self, name: str, where: str) -> None:
        self._where, self._path = where, name
        short = Path(name.rpartition(".py:")[0]).name
        self.name = f"{short}-{name.rpartition(':')[2]}-code-{(registry.fingerprint(name) or '')[:8]}"

    def __call__(self, images: Tensor) -> Tensor:
        """Map pictures (N, 3, H, W) uint8 to scores (N, 1) float32. UsageError if they are not numbers in 0..1."""
        import torch

        function: Callable[[Tensor], Any] = registry.load_function(self._path)
        returned = plugins.guarded(self._where, lambda: function(images))
        try:
            scores = torch.as_tensor(returned).detach().to("cpu", torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"{self._where} returned {type(returned).__name__}, which is no tensor of scores: return one number "
                "per picture."
            ) from error
        if scores.shape != (len(images),):
            raise UsageError(
                f"{self._where} returned scores of shape {tuple(scores.shape)} for {len(images)} pictures: return one "
                f"number per picture, shape ({len(images)},)."
            )
        wrong = scores[~((scores >= 0) & (scores <= 1))]  # NaN compares as False
        if len(wrong):
            raise UsageError(f"{self._where} returned the score {float(wrong[0]):g}: return numbers from 0 to 1.")
        return scores[:, None]
