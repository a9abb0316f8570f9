"""Networks that turn images into the features that metrics read. One contract: uint8 pictures in, float32 rows out."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Encoder(Protocol):
    """Images -> features, the same for an image whatever its neighbours, up to the kernels' rounding."""

    @property
    def name(self) -> str:
        """The back end's name, such as "mini-clip-b": part of the name of every metric that reads the features."""

    @property
    def size(self) -> int:
        """Width d of the features."""

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) uint8, RGB, 0..255 -> features (N, d) float32 on the CPU. ValueError for other input."""


class ModuleEncoder:
    """Any module that takes normalised images.

    The module is set to evaluation mode and stays on its device; inputs are moved to it.

    Arguments:
        name: the back end's name.
        module: float images (n, 3, H, W), normalised -> features (n, size).
        size: width d of the features.
        mean, std: of the normalisation (image / 255 − mean) / std, one figure a channel.
        batch: images a forward pass; changes memory and speed, not results (up to rounding).
    """

    def __init__(
        self, name: str, module: nn.Module, size: int, mean: Sequence[float], std: Sequence[float], batch: int = 64
    ) -> None:
        self.name, self.size = name, size
        self._module, self._batch = module.eval(), batch
        self._mean, self._std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) uint8 -> features (N, d) float32 on the CPU. ValueError for other input or output."""
        check_images(images)
        like = _parameter(self._module)
        parts = ((part / 255 - self._mean) / self._std for part in images.cpu().split(self._batch) if len(part))
        return _stack((self._module(part.to(like)) for part in parts), len(images), self.size)


class PillowEncoder:
    """Any module whose published preparation works on PIL images: resizing tensors instead gives other pixels.

    Arguments:
        name: the back end's name.
        module: float images (n, 3, s, s) -> features (n, size); set to evaluation mode, stays on its device.
        size: width d of the features.
        prepare: PIL image -> float image (3, s, s).
        batch: images a forward pass.
    """

    def __init__(
        self, name: str, module: nn.Module, size: int, prepare: Callable[[Any], Tensor], batch: int = 64
    ) -> None:
        self.name, self.size = name, size
        self._module, self._prepare, self._batch = module.eval(), prepare, batch

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) uint8 -> features (N, d) float32 on the CPU. ValueError for other input or output."""
        check_images(images)
        like = _parameter(self._module)
        parts = (prepared(part, self._prepare) for part in images.cpu().split(self._batch) if len(part))
        return _stack((self._module(part.to(like)) for part in parts), len(images), self.size)


class OpenClipEncoder:
    """Both towers of an open_clip model. Features are not normalised; metrics do that.

    Arguments:
        name: the back end's name.
        model: an `open_clip` model (`CLIP`, `CustomTextCLIP`), set to evaluation mode; stays on its device.
        tokenizer: its tokenizer: list of texts -> token ids (n, length).
        batch: images or texts a forward pass.
    """

    def __init__(self, name: str, model: nn.Module, tokenizer: Callable[[list[str]], Tensor], batch: int = 64) -> None:
        from open_clip.model import get_model_preprocess_cfg
        from open_clip.transform import PreprocessCfg, image_transform_v2

        self.name = name
        self._model, self._tokenizer, self._batch = model.eval(), tokenizer, batch
        # The model's own preparation, on PIL images: resizing tensors instead gives other pixels, hence other scores
        # (Parmar et al. 2022, arXiv:2104.11222).
        self._prepare = image_transform_v2(PreprocessCfg(**get_model_preprocess_cfg(model)), is_train=False)
        with torch.no_grad():
            # Not every vision tower knows the width of what it returns, but the text tower's is always the same.
            self.size: int = self._encode_text([""]).shape[-1]

    def _encode_text(self, texts: list[str]) -> Tensor:
        return self._model.encode_text(self._tokenizer(texts).to(_parameter(self._model).device))  # type: ignore[operator]

    def _encode_image(self, images: Tensor) -> Tensor:
        pixels = prepared(images, self._prepare)
        return self._model.encode_image(pixels.to(_parameter(self._model)))  # type: ignore[operator]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) uint8 -> features (N, d) float32 on the CPU. ValueError for other input."""
        check_images(images)
        rows = (self._encode_image(part) for part in images.cpu().split(self._batch) if len(part))
        return _stack(rows, len(images), self.size)

    @torch.no_grad()
    def text(self, texts: list[str]) -> Tensor:
        """Texts -> features (N, d) float32 on the CPU. ValueError for a single string."""
        if isinstance(texts, str):
            raise ValueError("text() takes a list of texts, not one string")
        starts = range(0, len(texts), self._batch)
        return _stack((self._encode_text(texts[i : i + self._batch]) for i in starts), len(texts), self.size)


def prepared(images: Tensor, prepare: Callable[[Any], Tensor]) -> Tensor:
    """Images (n, 3, H, W) uint8 -> what `prepare` makes of each, as a PIL image."""
    from torchvision.transforms.functional import to_pil_image

    return torch.stack([prepare(to_pil_image(image)) for image in images])


def check_images(images: Tensor) -> None:
    """Refuses, by ValueError, what is not (N, 3, H, W) uint8: float images would be scaled twice, in silence."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}")


def _parameter(module: nn.Module) -> Tensor:
    """A tensor that shows the module's device and precision."""
    tensors = chain(module.parameters(), module.buffers())
    return next((tensor for tensor in tensors if tensor.is_floating_point()), torch.empty(0))


def _stack(rows: Iterator[Tensor], count: int, size: int) -> Tensor:
    parts = [part.to("cpu", torch.float32) for part in rows]
    features = torch.cat(parts) if parts else torch.empty(0, size)
    if features.shape != (count, size):
        raise ValueError(f"the network gave features {tuple(features.shape)} where {(count, size)} were promised")
    return features
