"""Encoders: networks that map uint8 images to the float32 features that metrics use."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Encoder(Protocol):
    """Protocol of encoders, which map images to features.

    The features of an image do not depend on the other images of a batch, except for the rounding of kernels.
    """

    @property
    def name(self) -> str:
        """Name of the back end, such as "mini-clip-b". It is part of the name of every metric over its features."""

    @property
    def size(self) -> int:
        """Width d of the features."""

    def __call__(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) uint8, RGB, to features (N, d) float32 on the CPU.

        Raises ValueError for other input.
        """


class ModuleEncoder:
    """Encoder from a module that takes normalised images.

    The module is set to evaluation mode and stays on its device; inputs are moved to this device.

    Arguments:
        name: name of the back end.
        module: maps normalised float images (n, 3, H, W) to features (n, size).
        size: width d of the features.
        mean, std: one value per channel for the normalisation (image / 255 − mean) / std.
        batch: images per forward pass. It changes memory and speed, but not results (except for rounding).
    """

    def __init__(
        self, name: str, module: nn.Module, size: int, mean: Sequence[float], std: Sequence[float], batch: int = 64
    ) -> None:
        self.name, self.size = name, size
        self._module, self._batch = module.eval(), batch
        self._mean, self._std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) uint8 to features (N, d) float32 on the CPU.

        Raises ValueError for other input, or if the module returns features of another shape.
        """
        check_images(images)
        like = _parameter(self._module)
        parts = ((part / 255 - self._mean) / self._std for part in images.cpu().split(self._batch) if len(part))
        return _stack((self._module(part.to(like)) for part in parts), len(images), self.size)


class PillowEncoder:
    """Encoder from a module whose published preprocessing takes PIL images.

    Images are converted to PIL images, because resizing tensors gives different pixels. The module is set to evaluation
    mode and stays on its device.

    Arguments:
        name: name of the back end.
        module: maps float images (n, 3, s, s) to features (n, size).
        size: width d of the features.
        prepare: maps a PIL image to a float image (3, s, s).
        batch: images per forward pass.
    """

    def __init__(
        self, name: str, module: nn.Module, size: int, prepare: Callable[[Any], Tensor], batch: int = 64
    ) -> None:
        self.name, self.size = name, size
        self._module, self._prepare, self._batch = module.eval(), prepare, batch

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) uint8 to features (N, d) float32 on the CPU.

        Raises ValueError for other input, or if the module returns features of another shape.
        """
        check_images(images)
        like = _parameter(self._module)
        parts = (prepared(part, self._prepare) for part in images.cpu().split(self._batch) if len(part))
        return _stack((self._module(part.to(like)) for part in parts), len(images), self.size)


class OpenClipEncoder:
    """Encoder of images and texts from an open_clip model. Features are not normalised; metrics normalise them.

    Arguments:
        name: name of the back end.
        model: an `open_clip` model (`CLIP`, `CustomTextCLIP`). It is set to evaluation mode and stays on its device.
        tokenizer: tokenizer of the model, which maps a list of texts to token ids (n, length).
        batch: images or texts per forward pass.
    """

    def __init__(self, name: str, model: nn.Module, tokenizer: Callable[[list[str]], Tensor], batch: int = 64) -> None:
        from open_clip.model import get_model_preprocess_cfg
        from open_clip.transform import PreprocessCfg, image_transform_v2

        self.name = name
        self._model, self._tokenizer, self._batch = model.eval(), tokenizer, batch
        # The model's preprocessing takes PIL images; resizing tensors gives different pixels and therefore different
        # scores (Parmar et al. 2022, arXiv:2104.11222).
        self._prepare = image_transform_v2(PreprocessCfg(**get_model_preprocess_cfg(model)), is_train=False)
        with torch.no_grad():
            # Not every vision tower has an attribute for the feature width, but text features have the same width.
            self.size: int = self._encode_text([""]).shape[-1]

    def _encode_text(self, texts: list[str]) -> Tensor:
        tokens = self._tokenizer(texts).to(_parameter(self._model).device)
        features: Tensor = self._model.encode_text(tokens)  # type: ignore[operator]
        return features

    def _encode_image(self, images: Tensor) -> Tensor:
        pixels = prepared(images, self._prepare)
        features: Tensor = self._model.encode_image(pixels.to(_parameter(self._model)))  # type: ignore[operator]
        return features

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) uint8 to features (N, d) float32 on the CPU. Raises ValueError for other input."""
        check_images(images)
        rows = (self._encode_image(part) for part in images.cpu().split(self._batch) if len(part))
        return _stack(rows, len(images), self.size)

    @property
    def scale(self) -> float:
        """The factor that the model was trained with: scaled cosines are the logits of its softmax."""
        return float(self._model.logit_scale.exp())  # type: ignore[operator]

    @torch.no_grad()
    def text(self, texts: list[str]) -> Tensor:
        """Map texts to features (N, d) float32 on the CPU. Raises ValueError for a single string."""
        if isinstance(texts, str):
            raise ValueError("text() takes a list of texts, not a single string")
        starts = range(0, len(texts), self._batch)
        return _stack((self._encode_text(texts[i : i + self._batch]) for i in starts), len(texts), self.size)


def prepared(images: Tensor, prepare: Callable[[Any], Tensor]) -> Tensor:
    """Convert images (n, 3, H, W) uint8 to PIL images, apply `prepare` to each, and stack the results."""
    from torchvision.transforms.functional import to_pil_image

    return torch.stack([prepare(to_pil_image(image)) for image in images])


def check_images(images: Tensor) -> None:
    """Raise ValueError for images that are not uint8 (N, 3, H, W). Float images would silently be scaled twice."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}")


def _parameter(module: nn.Module) -> Tensor:
    """Return a floating-point tensor that has the device and dtype of the module."""
    tensors = chain(module.parameters(), module.buffers())
    return next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))


def _stack(rows: Iterator[Tensor], count: int, size: int) -> Tensor:
    parts = [part.to("cpu", torch.float32) for part in rows]
    features = torch.cat(parts) if parts else torch.empty(0, size)
    if features.shape != (count, size):
        raise ValueError(f"the network returned features of shape {tuple(features.shape)} instead of {(count, size)}")
    return features
