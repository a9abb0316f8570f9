"""Benchmarks of all metrics: update with 256 images, then compute. Sizes are small so that a plain run stays fast."""

import pytest
import torch
from torch import nn

from metrics.clip import CLIPSimilarity
from metrics.cp import CPScore
from metrics.csd import StyleSimilarity
from metrics.drift import Drift
from metrics.encoders import ModuleEncoder
from metrics.fid import FrechetDistance
from metrics.kid import KernelDistance
from metrics.oracle import ClassProbability

N, D = 256, 64


def rows(seed):
    return torch.randn(N, D, generator=torch.Generator().manual_seed(seed))


def once(benchmark, work):
    return benchmark.pedantic(work, rounds=5, warmup_rounds=1)


PAIRED = [
    (CLIPSimilarity, 2),
    (CPScore, 3),
    (StyleSimilarity, 2),
    (Drift, 2),
]


@pytest.mark.parametrize(("make", "inputs"), PAIRED, ids=lambda value: getattr(value, "name", None))
@pytest.mark.benchmark(group="metrics")
def test_time_of_paired_metric(benchmark, make, inputs):
    features = [rows(seed) for seed in range(inputs)]

    def work():
        metric = make("t")
        metric.update(*features)
        return metric.compute()

    assert torch.isfinite(once(benchmark, work))


@pytest.mark.parametrize("make", [FrechetDistance, KernelDistance], ids=lambda make: make.name)
@pytest.mark.benchmark(group="metrics")
def test_time_of_distribution_distance(benchmark, make):
    generated, real = rows(0), rows(1)

    def work():
        metric = make("t", D)
        metric.update(generated, real=False)
        metric.update(real, real=True)
        return metric.compute()

    assert torch.isfinite(once(benchmark, work))


@pytest.mark.benchmark(group="metrics")
def test_time_of_kernel_distance_jackknife(benchmark):
    metric = KernelDistance("t", D)
    metric.update(rows(0), real=False)
    metric.update(rows(1), real=True)
    assert once(benchmark, metric.standard_error) > 0


@pytest.mark.benchmark(group="metrics")
def test_time_of_class_probability(benchmark):
    probabilities, asked = rows(0).softmax(dim=1), torch.arange(N) % D

    def work():
        metric = ClassProbability("t", D)
        metric.update(probabilities, asked)
        return metric.destinations()

    assert once(benchmark, work).share.sum() == pytest.approx(1)


@pytest.mark.benchmark(group="metrics")
def test_time_of_module_encoder(benchmark):
    network = nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    encoder = ModuleEncoder("t", network, 16, (0.5,) * 3, (0.5,) * 3)
    images = torch.zeros(N, 3, 64, 64, dtype=torch.uint8)
    assert once(benchmark, lambda: encoder(images)).shape == (N, 16)
