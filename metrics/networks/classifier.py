"""Loads image classifiers of torchvision or timm from a weights file. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.errors import DataError, UsageError
from metrics.networks.weights import read_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

Library = Literal["torchvision", "timm"]


def classifier(library: Library, architecture: str, weights: Path, classes: int) -> nn.Module:
    """Return a classifier with the weights of a file, in evaluation mode on the CPU.

    Args:
        library: the library that defines the architecture.
        architecture: its name there, such as "resnet18".
        weights: a safetensors, .pt or .pth file with all weights of this architecture.
        classes: number of outputs.

    Raises:
        UsageError: the library is not installed, or has no such architecture.
        DataError: the file cannot be read, or holds the weights of a different architecture.
    """
    make = _makers(library, architecture)
    state = read_weights(weights)
    try:
        module: nn.Module = make(classes)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{library}'s {architecture} cannot be created with {classes} classes ({error}).") from error
    _check_shapes(module.state_dict(), state, f"{library}'s {architecture} with {classes} classes", weights)
    module.load_state_dict(state, strict=False)  # counters of batch norm may be missing
    return module.eval().requires_grad_(False)


def preparation(size: int, mean: Sequence[float], std: Sequence[float]) -> Callable[[Any], Tensor]:
    """Return a function from a PIL image to a normalised image (3, size, size) float32."""
    from torchvision.transforms import Compose, Normalize, Resize, ToTensor

    prepare: Callable[[Any], Tensor] = Compose([Resize((size, size), antialias=True), ToTensor(), Normalize(mean, std)])
    return prepare


def imagenet_names() -> list[str]:
    """Return the names of the 1,000 classes of ImageNet, in the order of torchvision's classifiers."""
    from torchvision.models import ResNet18_Weights

    return list(ResNet18_Weights.DEFAULT.meta["categories"])


def _makers(library: Library, architecture: str) -> Callable[[int], Any]:
    """Return a function from a number of classes to a network with random weights."""
    if library == "torchvision":
        from torchvision import models

        if architecture not in (names := models.list_models(module=models)):
            raise _unknown(library, architecture, names)
        return lambda classes: models.get_model(architecture, weights=None, num_classes=classes)
    try:
        import timm
    except ImportError as error:
        raise UsageError("The package timm is not installed: install it, or use torchvision's classifiers.") from error
    if architecture not in (names := timm.list_models()):
        raise _unknown(library, architecture, names)
    return lambda classes: timm.create_model(architecture, pretrained=False, num_classes=classes)


def _unknown(library: Library, architecture: str, names: Sequence[str]) -> UsageError:
    close = get_close_matches(architecture, names, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else f" Some are {', '.join(names[:5])}."
    return UsageError(f"{library} has no classifier {architecture!r}.{guess}")


def _check_shapes(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], network: str, path: Path) -> None:
    """Raise DataError for the first weight that the file lacks, has in addition, or has with a different shape."""
    remedy = "name the architecture and the number of classes that the weights are of"
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    if missing or (foreign := [name for name in state if name not in expected]):
        fault = f"they lack {missing[0]}" if missing else f"they have {foreign[0]} in addition"
        raise DataError(f"The weights {path} are not those of {network} ({fault}): {remedy}.")
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise DataError(
                f"The weights {path} are not those of {network} ({name} has shape {tuple(tensor.shape)} instead of "
                f"{tuple(expected[name].shape)}): {remedy}."
            )
