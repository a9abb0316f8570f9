"""Intervals and tests for what tables show and comparisons claim."""

from __future__ import annotations

from collections.abc import Sequence

RESAMPLES, FLIPS = 2000, 20_000
DRAWN = 1_000_000
"""Signs that `sign_flip` draws at once, in 16 MB; blocks of rows are drawn as the whole would be, sign by sign."""


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


def reduction_interval(left: Sequence[float], right: Sequence[float]) -> tuple[float, float] | None:
    """95 % percentile bootstrap over paired prompts of 100 (1 - sum(left) / sum(right)), seeded; None if right is 0.

    Resamples in which the right side has nothing say nothing of a share, and are left out.
    """
    import numpy as np

    ours, theirs = (np.asarray(side, dtype=np.float64) for side in (left, right))
    if len(ours) < 2 or not theirs.sum():
        return None
    rows = np.random.default_rng(0).integers(0, len(ours), (RESAMPLES, len(ours)))
    totals = theirs[rows].sum(axis=1)
    gone = 100 * (1 - ours[rows].sum(axis=1)[totals > 0] / totals[totals > 0])
    low, high = np.quantile(gone, (0.025, 0.975))
    return float(low), float(high)


def student_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of a mean by Student's t; None below two values. For few units, where a bootstrap is too narrow."""
    import numpy as np
    from scipy.stats import t

    data = np.asarray(differences, dtype=np.float64)
    if len(data) < 2:
        return None
    half = float(t.ppf(0.975, len(data) - 1) * data.std(ddof=1) / np.sqrt(len(data)))
    return float(data.mean()) - half, float(data.mean()) + half


def upper_bound(differences: Sequence[float]) -> float | None:
    """One-sided 95 % upper bound of a mean by Student's t; None below two values. Of non-inferiority tests."""
    import numpy as np
    from scipy.stats import t

    data = np.asarray(differences, dtype=np.float64)
    if len(data) < 2:
        return None
    return float(data.mean() + t.ppf(0.95, len(data) - 1) * data.std(ddof=1) / np.sqrt(len(data)))


def pooled_intervals(groups: Sequence[Sequence[float]]) -> list[tuple[float, float]] | None:
    """95 % interval of each group's mean by Student's t, with one standard deviation for all groups, as in ANOVA.

    For many groups of two or three units, which alone would have one or two degrees of freedom: here they have one for
    every unit beyond a group's first. None where there is no such unit.
    """
    import numpy as np
    from scipy.stats import t

    data = [np.asarray(group, dtype=np.float64) for group in groups]
    freedom = sum(len(group) - 1 for group in data)
    if not freedom:
        return None
    deviation = np.sqrt(sum(((group - group.mean()) ** 2).sum() for group in data) / freedom)
    halves = [float(t.ppf(0.975, freedom) * deviation / np.sqrt(len(group))) for group in data]
    return [(float(group.mean()) - half, float(group.mean()) + half) for group, half in zip(data, halves, strict=True)]


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p of the paired sign-flip test of the mean: exact up to 16 pairs, else 20,000 seeded flips."""
    import numpy as np

    data = np.asarray(differences, dtype=np.float64)
    if len(data) <= 16:
        bits = (np.arange(2 ** len(data))[:, None] >> np.arange(len(data))) & 1
        sums = (1 - 2 * bits) @ data
        extra = 0
    else:
        rng, rows = np.random.default_rng(0), max(1, DRAWN // len(data))
        counts = [min(rows, FLIPS - start) for start in range(0, FLIPS, rows)]
        sums = np.concatenate([rng.choice((-1.0, 1.0), (count, len(data))) @ data for count in counts])
        extra = 1  # the observed signs are one of the ways (Phipson and Smyth 2010)
    as_far = np.abs(sums) >= abs(data.sum()) - 1e-9 * np.abs(data).sum()
    return float((as_far.sum() + extra) / (len(sums) + extra))


def mcnemar(left: Sequence[float], right: Sequence[float]) -> float:
    """Exact two-sided p of McNemar's test of paired yes (above 0) or no; 1 where the two never differ."""
    from math import comb

    only_left = sum(a > 0 >= b for a, b in zip(left, right, strict=True))
    only_right = sum(b > 0 >= a for a, b in zip(left, right, strict=True))
    n = only_left + only_right
    tail = sum(comb(n, k) for k in range(min(only_left, only_right) + 1))
    return min(1.0, 2 * tail / 2**n)
