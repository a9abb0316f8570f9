"""A Stable Diffusion small enough to train in tests: U-Nets, materials, and a checkpointer in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from methods.base import Context, Materials, State
from methods.budget import Ledger
from methods.sampling import Sampler

# Threads that spin for each other make such small networks a hundred times slower on a machine with other work.
torch.set_num_threads(1)

SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
}
SIZE, LENGTH, WIDTH = 8, 6, 16
"""Latent size, tokens and width of the text states."""
SAMPLER = Sampler(steps=5, guidance=3.0, latent_size=SIZE)
SD21: dict[str, Any] = {
    "sample_size": 96,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}


def tiny_unet(
    seed: int = 0, channels: tuple[int, ...] = (16, 32), size: int = SIZE, layers: int = 1
) -> UNet2DConditionModel:
    """Return SD 2.1's architecture with few channels; with three of them, the shape of testbed `mini`.

    With two layers a block it has SD 2.1's depth gates.
    """
    torch.manual_seed(seed)
    cross = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=size,
        block_out_channels=channels,
        layers_per_block=layers,
        down_block_types=("CrossAttnDownBlock2D",) * cross + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * cross,
        attention_head_dim=4,
        cross_attention_dim=WIDTH,
        use_linear_projection=True,
        norm_num_groups=8,
    )


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Count the FLOPs of real passes. Attention is done in single products, since older torch on a CPU does not count
    its fused attention (it does on the meta device, where our own counts are made)."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter


@dataclass(frozen=True)
class Pictures:
    """Random captioned latents."""

    seed: int = 0
    size: int = 12

    def __len__(self) -> int:
        return self.size

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        source = torch.Generator().manual_seed(self.seed)
        latents = torch.randn(self.size, 4, SIZE, SIZE, generator=source)
        return latents[indices], torch.randn(self.size, LENGTH, WIDTH, generator=source)[indices]


@dataclass
class Memory:
    """A checkpointer that keeps copies of all states; `load` gives the last."""

    states: list[State] = field(default_factory=list)

    def load(self) -> State | None:
        return self.states[-1] if self.states else None

    def save(self, state: State) -> None:
        self.states.append(State({name: tensor.clone() for name, tensor in state.tensors.items()}, state.meta))


def materials(**changes: Any) -> Materials:
    null = torch.randn(LENGTH, WIDTH, generator=torch.Generator().manual_seed(9))
    given: dict[str, Any] = {
        "teacher": tiny_unet(1),
        "scheduler": SCHEDULER,
        "retain": Pictures(0),
        "erase": Pictures(1, size=5),
        "erase_named": Pictures(2, size=5),
        "null": null,
        "encode": lambda texts: null.expand(len(texts), -1, -1),
        "sampler": SAMPLER,
        "preserve": [],
        "contrast": {},
        "token_counts": lambda texts: [2] * len(texts),
    }
    return Materials(**{**given, **changes})


def context(checkpoint: Memory | None = None) -> Context:
    return Context(
        checkpoint=checkpoint or Memory(),
        ledger=Ledger(),
        progress=lambda phase, done, total, figures: None,
        device=torch.device("cpu"),
    )


def same(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    """Whether two networks are equal bit for bit."""
    a, b = ours.state_dict(), theirs.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
