"""Architecture vectors: a number in 0..1 for each element that can be removed, in APTP's order (SD 2.1: 1,620 numbers).

Width gates come first, stage by stage (down, mid, up). In each stage come the resnets (a number for each group of
norm2), then the transformers (heads of attn1, heads of attn2, 32 groups of hidden units). The depth gates come last, in
the same order. An element is kept if its number is at least 0.5. Source: Ganjdanesh et al. 2024 (arXiv 2406.12042) and
the authors' code.
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
"""Largest number of groups of hidden units of a feed-forward; each group has a number."""
STAYS = 0.5


@dataclass(frozen=True)
class Layout:
    """The order of the numbers in a U-Net's architecture vectors."""

    widths: dict[str, int]
    """How many numbers each width gate has, by module name."""
    depths: tuple[str, ...]
    """Names of the modules with a depth gate; each has one number."""

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
        """Split vectors (..., length) into views: (..., width) by width gate, and (...) by depth gate.

        Raises:
            DataError: the vector has another length.
        """
        if vector.shape[-1] != self.length:
            raise DataError(
                f"An architecture vector of this U-Net has {self.length} numbers, not {vector.shape[-1]}: "
                "it belongs to another base model."
            )
        *parts, last = vector.split([*self.widths.values(), len(self.depths)], dim=-1)
        return dict(zip(self.widths, parts, strict=True)), dict(zip(self.depths, last.unbind(-1), strict=True))


def numbers(module: nn.Module) -> int:
    """Return how many numbers a width gate has in a vector."""
    return gcd(GROUPS, width(module)) if isinstance(module, FeedForward) else width(module)


def hardened(layout: Layout, vector: Tensor) -> Tensor:
    """Round vectors (..., length) to 0 and 1; at least the largest number of each width gate becomes 1."""
    widths, depths = layout.split(vector)
    parts = []
    for part in widths.values():
        strongest = nn.functional.one_hot(part.argmax(-1), part.shape[-1]).bool()
        parts.append((part >= STAYS) | strongest)
    last = [part.unsqueeze(-1) >= STAYS for part in depths.values()]
    return torch.cat([*parts, *last], dim=-1).to(vector.dtype)


def to_architecture(unet: UNet2DConditionModel, vector: Tensor) -> Architecture:
    """Return the architecture that `vector` (length,) describes; `DataError` for a vector of another length."""
    layout, modules = Layout.of(unet), gates(unet)
    widths, depths = layout.split(hardened(layout, vector))
    kept = {}
    for name, part in widths.items():
        size = width(modules[name]) // len(part)  # hidden units per number; 1 for groups and heads
        kept[name] = spread(part.nonzero().flatten().tolist(), size).tolist()
    return Architecture.of(unet, kept, [name for name, part in depths.items() if not part])


def to_vector(unet: UNet2DConditionModel, architecture: Architecture) -> Tensor:
    """Return the vector (length,) of an architecture: the share of each number's elements that is kept.

    A share lies between 0 and 1 if some hidden units of a group are kept and others are not, as `magnitude` can do.

    Raises:
        DataError: a dropped module has no depth gate.
    """
    layout, modules, kept = Layout.of(unet), gates(unet), architecture.kept()
    odd = [name for name in architecture.dropped if name not in layout.depths]
    if odd:
        raise DataError(f"No architecture vector can say that '{odd[0]}' is dropped: it has no depth gate.")
    parts = []
    for name, count in layout.widths.items():
        whole = torch.zeros(width(modules[name]))
        whole[list(kept.get(name, ()))] = 1
        parts.append(whole.reshape(count, -1).mean(1))
    return torch.cat([*parts, torch.tensor([float(name not in architecture.dropped) for name in layout.depths])])
