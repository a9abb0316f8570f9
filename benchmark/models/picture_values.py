"""Converts pictures that do not come from this package to uint8 tensors, and checks their number, size and type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmark.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


EIGHT_BIT = ("RGB", "L", "P", "1", "RGBA", "LA", "PA")
"""Modes of Pillow that convert to RGB without loss."""
LISTS = "a list or an array of uint8 arrays (height, width, 3), a uint8 tensor (N, 3, height, width), or PIL images"


def as_tensors(returned: object, count: int, size: int) -> list[Tensor]:
    """Return `count` pictures as tensors uint8 (3, size, size).

    Args:
        returned: a list, tuple, array or tensor of pictures. A picture is a numpy array or a tensor, uint8, with the
            shape (size, size, 3) or (3, size, size), or a PIL image with 8 bits per channel and no transparency.
        count: expected number of pictures.
        size: expected height and width in pixels.

    Raises:
        DataError: the number, a type, a shape or a size is wrong. The message is a clause that starts with "returned".
    """
    import numpy as np
    import torch

    if isinstance(returned, np.ndarray | torch.Tensor):
        if returned.ndim != 4:
            raise DataError(f"returned an array of shape {tuple(returned.shape)}; return {LISTS}")
        items: list[Any] = list(returned)
    elif isinstance(returned, list | tuple):
        items = list(returned)
    else:
        raise DataError(f"returned an object of type {type(returned).__name__}; return {LISTS}")
    if len(items) != count:
        pictures = "1 picture" if len(items) == 1 else f"{len(items)} pictures"
        raise DataError(f"returned {pictures} for {count} prompts; return one picture per prompt, in order")
    tensors = []
    for number, item in enumerate(items, 1):
        try:
            tensors.append(_as_tensor(item, size))
        except DataError as error:
            raise DataError(f"returned, as picture {number} of {count}, {error}") from None
    return tensors


def _as_tensor(item: Any, size: int) -> Tensor:
    """Return one picture as uint8 (3, size, size). DataError with a description of what is wrong."""
    import numpy as np
    import torch
    from PIL import Image

    if isinstance(item, Image.Image):
        if item.size != (size, size):
            raise DataError(f"one of {item.width} x {item.height} pixels; this testbed needs {size} x {size}")
        item = np.array(as_rgb(item))
    if not isinstance(item, np.ndarray | torch.Tensor):
        raise DataError(f"an object of type {type(item).__name__}; return {LISTS}")
    kind = str(item.dtype).removeprefix("torch.")
    if kind != "uint8":
        raise DataError(
            f"values of type {kind}; return uint8 from 0 to 255 (for values from 0 to 1: multiply by 255, round, and "
            "convert)"
        )
    shape = tuple(item.shape)
    if shape not in ((size, size, 3), (3, size, size)):
        raise DataError(f"an array of shape {shape}; this testbed needs ({size}, {size}, 3), or (3, {size}, {size})")
    # A copy, because the function may fill the same array again.
    tensor = item.detach().cpu().clone() if isinstance(item, torch.Tensor) else torch.from_numpy(np.array(item))
    return (tensor.permute(2, 0, 1) if shape == (size, size, 3) else tensor).contiguous()


def as_rgb(picture: Image) -> Image:
    """Return a picture as 8-bit RGB.

    Raises:
        DataError: the conversion would change colours: the picture has transparent pixels, several frames, or other
            than 8 bits per channel. The message is a description, such as "a picture with transparent pixels".
    """
    if getattr(picture, "is_animated", False):
        raise DataError("a picture with several frames; save one frame")
    if picture.mode not in EIGHT_BIT:
        raise DataError(f"a picture in mode {picture.mode}; save it as RGB with 8 bits per channel")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            raise DataError("a picture with transparent pixels; paste it on a background and save it as RGB")
    return picture.convert("RGB")
