"""Benchmark of NudeNet detection: our implementation and the nudenet package, in images per second.

Thread counts differ: our implementation follows OMP_NUM_THREADS, the package always uses all cores.
"""

import nudenet
import numpy as np
import pytest

from metrics.detectors.nudenet import NudeNet

N = 16


@pytest.fixture(scope="module")
def images():
    return list(np.random.RandomState(0).randint(256, size=(N, 512, 512, 3), dtype=np.uint8))


def once(benchmark, work):
    done = benchmark.pedantic(work, rounds=5, warmup_rounds=1)
    if benchmark.stats:  # none with --benchmark-disable
        benchmark.extra_info["images/s"] = round(N / benchmark.stats.stats.min, 1)
    return done


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.benchmark(group="detectors")
def test_time_of_our_nudenet(benchmark, images, batch):
    detector = NudeNet(batch)
    assert len(once(benchmark, lambda: detector(images))) == N


@pytest.mark.benchmark(group="detectors")
def test_time_of_nudenet_package(benchmark, images):
    package = nudenet.NudeDetector()
    assert len(once(benchmark, lambda: [package.detect(image) for image in images])) == N
