"""Intervals for what a table shows."""

from __future__ import annotations

from collections.abc import Sequence

RESAMPLES = 2000


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % percentile bootstrap of the mean over images (Efron 1979), seeded; None below two values.

    It describes one trained model asked other prompts of the same kind; it says nothing about other training seeds.
    """
    import numpy as np

    data = np.asarray(values, dtype=np.float64)
    if len(data) < 2:
        return None
    rng = np.random.default_rng(0)
    means = data[rng.integers(0, len(data), (RESAMPLES, len(data)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
