"""Architecture vectors: one value in 0..1 for each removable element, in APTP's order (1,620 values for SD 2.1).

The width gates come first, ordered by stage (down, mid, up). Each stage has its resnets (one value per group of norm2),
then its transformers (heads of attn1, heads of attn2, 32 groups of hidden units). The depth gates come last, in the
same order. An element is kept if its value is at least 0.5. Source: Ganjdanesh et al. 2024 (arXiv 2406.12042) and the
authors' code.
"""

from dataclasses import dataclass
from math import gcd

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from benchmark.errors import DataError
from methods.pruning.architecture import Architecture, gates, spread, width, within
from methods.pruning.depth import depth_gates, stages

GROUPS = 32
"""Largest number of groups of hidden units of a feed-forward; each group has one value."""
KEEP_THRESHOLD = 0.5
"""Elements with at least this value are kept."""


@dataclass(frozen=True)
class Layout:
    """Order of the values in the architecture vectors of a U-Net."""

    widths: dict[str, int]
    """Number of values of each width gate, by module name."""
    depths: tuple[str, ...]
    """Names of the modules with a depth gate; each has one value."""

    @classmethod
    def of(cls, unet: UNet2DConditionModel) -> "Layout":
        """Return the layout of the base `unet`."""
        modules = gates(unet)
        kinds = [f"{place}.{kind}" for place in stages(unet) for kind in ("resnets", "attentions")]
        ordered = [name for kind in kinds for name in modules if within(name, [kind])]
        return cls({name: numbers(modules[name]) for name in ordered}, depth_gates(unet))

    @property
    def length(self) -> int:
        return sum(self.widths.values()) + len(self.depths)

    def split(self, vector: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Split vectors (..., length) into views: (..., width) for each width gate, and (...) for each depth gate.

        Raises:
            DataError: the vectors have a different length.
        """
        if vector.shape[-1] != self.length:
            raise DataError(
                f"An architecture vector of this U-Net has {self.length} values, not {vector.shape[-1]}: "
                "use vectors of the same base model."
            )
        *parts, last = vector.split([*self.widths.values(), len(self.depths)], dim=-1)
        return dict(zip(self.widths, parts, strict=True)), dict(zip(self.depths, last.unbind(-1), strict=True))


def numbers(module: nn.Module) -> int:
    """Return the number of values of a width gate in an architecture vector."""
    return gcd(GROUPS, width(module)) if isinstance(module, FeedForward) else width(module)


def hardened(layout: Layout, vector: Tensor) -> Tensor:
    """Round vectors (..., length) to 0 and 1. The largest value of each width gate always becomes 1."""
    widths, depths = layout.split(vector)
    parts = []
    for part in widths.values():
        strongest = nn.functional.one_hot(part.argmax(-1), part.shape[-1]).bool()
        parts.append((part >= KEEP_THRESHOLD) | strongest)
    last = [part.unsqueeze(-1) >= KEEP_THRESHOLD for part in depths.values()]
    return torch.cat([*parts, *last], dim=-1).to(vector.dtype)


def to_architecture(unet: UNet2DConditionModel, vector: Tensor) -> Architecture:
    """Return the architecture that `vector` (length,) describes. Raises DataError if its length is wrong."""
    layout, modules = Layout.of(unet), gates(unet)
    widths, depths = layout.split(hardened(layout, vector))
    kept = {}
    for name, part in widths.items():
        size = width(modules[name]) // len(part)  # hidden units per value; 1 for groups and heads
        kept[name] = spread(part.nonzero().flatten().tolist(), size).tolist()
    return Architecture.of(unet, kept, [name for name, part in depths.items() if not part])


def to_vector(unet: UNet2DConditionModel, architecture: Architecture) -> Tensor:
    """Return the vector (length,) of an architecture. Each value is the share of its elements that is kept.

    A value is between 0 and 1 if only some hidden units of a group are kept, which `magnitude` can do.

    Raises:
        DataError: a dropped module has no depth gate.
    """
    layout, modules, kept = Layout.of(unet), gates(unet), architecture.kept()
    odd = [name for name in architecture.dropped if name not in layout.depths]
    if odd:
        raise DataError(
            f"An architecture vector cannot express that module '{odd[0]}' is dropped: it has no depth gate."
        )
    parts = []
    for name, count in layout.widths.items():
        whole = torch.zeros(width(modules[name]))
        whole[list(kept.get(name, ()))] = 1
        parts.append(whole.reshape(count, -1).mean(1))
    return torch.cat([*parts, torch.tensor([float(name not in architecture.dropped) for name in layout.depths])])
