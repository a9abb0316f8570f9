"""Times of one sampling call and of one training step of each method, on a U-Net of testbed `mini`'s shape."""

import pytest
import torch
from tiny import SCHEDULER, SIZE, Pictures, context, materials, tiny_unet

from methods.bilevel.config import BilevelConfig
from methods.bilevel.method import Bilevel
from methods.budget import Budget
from methods.distilled import Distilled, DistilledConfig
from methods.sampling import Sampler, initial_noise, sample
from prompts.concepts import Concept

CHANNELS = (32, 64, 128)


def test_bench_sampling(benchmark) -> None:
    given, unet = materials(), tiny_unet(channels=CHANNELS)
    text, noise = Pictures().batch(torch.arange(4))[1], initial_noise(range(4), (4, SIZE, SIZE))
    sampler = Sampler(steps=5, latent_size=SIZE)
    arguments = (unet, SCHEDULER, text, given.null, noise, sampler)
    assert benchmark.pedantic(sample, arguments, rounds=3, warmup_rounds=1).isfinite().all()


@pytest.mark.parametrize("method", [
    Distilled(DistilledConfig(batch=8)), Bilevel(BilevelConfig(batch=8, lower_steps=1)),
], ids=["distilled", "bilevel"])  # fmt: skip
def test_bench_training_steps(benchmark, method: Distilled | Bilevel) -> None:
    """Two steps: both lower for `distilled`, a lower and an upper one for `bilevel`."""
    concept = Concept(kind="style", targets=("Vincent van Gogh",), anchor="art", neighbours=())
    given, student = materials(teacher=tiny_unet(channels=CHANNELS)), tiny_unet(2, channels=CHANNELS)

    def steps() -> None:
        method.fit(student, given, concept, Budget(iterations=2), context(), 0)

    benchmark.pedantic(steps, rounds=2, warmup_rounds=1)
    assert all(bool(parameter.isfinite().all()) for parameter in student.parameters())
