"""A tiny Stable Diffusion that checks a plug-in in seconds.

It has the modules of SD 2.1 with few channels and random weights, and random captioned latents as training data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from benchmark.json_types import NetworkConfig
from methods.base import Context, Materials, State
from methods.budget import Ledger
from methods.pruning.pictures import Pictures
from methods.sampling import Sampler
from prompts.concepts import Concept

SIZE, LENGTH, WIDTH = 8, 8, 16
"""Height and width of a latent, number of tokens of a text, and width of its hidden states."""
TARGET, KEPT = "Ann van Oak", "Bo Birch"
CONCEPT = Concept("style", (TARGET,), "art", (KEPT,))
SCHEDULER: NetworkConfig = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
}  # fmt: skip


class Stopped(BaseException):
    """Interrupts a fit. It is a BaseException, so that no `except Exception` of a plug-in catches it."""


def unet(seed: int = 0) -> UNet2DConditionModel:
    """Return a U-Net with random weights, in fp32 and eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet2DConditionModel(
            sample_size=SIZE,
            block_out_channels=(16, 32),
            layers_per_block=2,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            attention_head_dim=4,
            cross_attention_dim=WIDTH,
            use_linear_projection=True,
            norm_num_groups=8,
        )
    return network.eval()


@dataclass(frozen=True)
class RandomLatents:
    """Random latents (N, 4, 8, 8) with hidden states of captions (N, 8, 16), which depend only on the seed."""

    seed: int
    size: int

    def __len__(self) -> int:
        return self.size

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        source = torch.Generator().manual_seed(self.seed)
        latents = torch.randn(self.size, 4, SIZE, SIZE, generator=source)
        return latents[indices], torch.randn(self.size, LENGTH, WIDTH, generator=source)[indices]


def encode(texts: Any) -> Tensor:
    """Return hidden states (N, 8, 16) of texts: random numbers that are always the same for a text."""
    states = [
        torch.randn(LENGTH, WIDTH, generator=torch.Generator().manual_seed(sum(text.encode()) + len(text)))
        for text in texts
    ]
    return torch.stack(states) if states else torch.empty(0, LENGTH, WIDTH)


def materials() -> Materials:
    """Return the materials of a method, with one target and one name to keep."""
    pairs = [(f"a photo of {thing}", f"{thing} in the style of {TARGET}") for thing in ("a boat", "a house", "a tree")]
    in_context = {
        name: [(f"{thing} in the style of {name}", thing) for thing in ("a boat", "a house", "a tree")]
        for name in (TARGET, KEPT)
    }
    return Materials(
        teacher=unet(1).requires_grad_(False),
        scheduler=dict(SCHEDULER),
        retain=RandomLatents(0, 12),
        erase=RandomLatents(1, 6),
        erase_named=RandomLatents(1, 6),
        null=encode([""])[0],
        encode=encode,
        sampler=Sampler(steps=4, guidance=2.5, latent_size=SIZE),
        preserve=[KEPT],
        contrast={TARGET: pairs},
        token_counts=lambda texts: [len(text.split()) for text in texts],
        in_context=in_context,
    )


def pictures() -> Pictures:
    """Return captioned pictures for prunings that need them."""
    return Pictures(RandomLatents(3, 12), [f"picture {k}" for k in range(12)], encode([""])[0], dict(SCHEDULER))


@dataclass
class Memory:
    """A checkpointer that stores copies of all states, and interrupts the fit after `stop_after` of them."""

    stop_after: int | None = None
    states: list[State] = field(default_factory=list)

    def load(self) -> State | None:
        return self.states[-1] if self.states else None

    def save(self, state: State) -> None:
        copied = {name: tensor.detach().clone() for name, tensor in state.tensors.items()}
        self.states.append(State(copied, dict(state.meta)))
        if self.stop_after is not None and len(self.states) >= self.stop_after:
            raise Stopped


def context(memory: Memory) -> Context:
    return Context(
        checkpoint=memory,
        ledger=Ledger(),
        progress=lambda phase, done, total, figures: None,
        device=torch.device("cpu"),
    )
