"""Confidence intervals and significance tests for tables and comparisons."""

from __future__ import annotations

from collections.abc import Sequence

RESAMPLES, FLIPS = 2000, 20_000
DRAWN = 1_000_000
"""Random signs that `sign_flip` draws at once (16 MB). The block size does not change the signs."""


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of a mean over images (Efron 1979); None for fewer than two values.

    The bootstrap is seeded. The interval covers the choice of prompts for one trained model, not the variation between
    training seeds.
    """
    import numpy as np

    data = np.asarray(values, dtype=np.float64)
    if len(data) < 2:
        return None
    rng = np.random.default_rng(0)
    means = data[rng.integers(0, len(data), (RESAMPLES, len(data)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def proportion_interval(count: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the proportion `count` of `n`, which is not empty at 0 and at 1."""
    from scipy.stats import binomtest

    interval = binomtest(count, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(mean: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the mean of `n` values in 0..1.

    It solves (mean - p)² = z² p (1 - p) / n. Values that are not only 0 and 1 have a smaller variance than p (1 - p),
    so that the interval is then conservative.
    """
    from math import sqrt
    from statistics import NormalDist

    z = NormalDist().inv_cdf(0.975)
    shrink = 1 + z * z / n
    centre = (mean + z * z / (2 * n)) / shrink
    half = z * sqrt(mean * (1 - mean) / n + (z / (2 * n)) ** 2) / shrink
    return max(0.0, centre - half), min(1.0, centre + half)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return an interval of the median with a coverage of at least 95 %, from order statistics (the sign test).

    Its ends are the k-th smallest and the k-th largest value. Returns None for fewer than six values, whose smallest
    and largest value cover the median less often.
    """
    from math import comb

    n, below, k = len(values), 0.0, 0
    while (below := below + comb(n, k) / 2**n) <= 0.025:
        k += 1
    ordered = sorted(values)
    return (ordered[k - 1], ordered[n - k]) if k else None


def reduction_interval(left: Sequence[float], right: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of 100 (1 - sum(left) / sum(right)) over paired prompts.

    The bootstrap is seeded. Resamples with sum(right) = 0, for which the ratio is undefined, are left out. Returns None
    for fewer than two pairs or sum(right) = 0.
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
    """Return the 95 % interval of a mean by Student's t; None for fewer than two values.

    It suits few values, for which a bootstrap interval is too narrow.
    """
    import numpy as np
    from scipy.stats import t

    data = np.asarray(differences, dtype=np.float64)
    if len(data) < 2:
        return None
    half = float(t.ppf(0.975, len(data) - 1) * data.std(ddof=1) / np.sqrt(len(data)))
    return float(data.mean()) - half, float(data.mean()) + half


def upper_bound(differences: Sequence[float]) -> float | None:
    """Return the one-sided 95 % upper bound of a mean by Student's t, for non-inferiority tests.

    Returns None for fewer than two values.
    """
    import numpy as np
    from scipy.stats import t

    data = np.asarray(differences, dtype=np.float64)
    if len(data) < 2:
        return None
    return float(data.mean() + t.ppf(0.95, len(data) - 1) * data.std(ddof=1) / np.sqrt(len(data)))


def pooled_intervals(groups: Sequence[Sequence[float]]) -> list[tuple[float, float]] | None:
    """Return the 95 % interval of each group's mean by Student's t, with a pooled standard deviation as in ANOVA.

    It suits many groups of two or three values, which would have only one or two degrees of freedom separately. The
    pooled degrees of freedom are the number of values minus the number of groups. Returns None if they are 0.
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
    """Return the two-sided p-value of the paired sign-flip test of the mean.

    The test is exact for up to 16 pairs, and uses 20,000 seeded random flips for more.
    """
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
        extra = 1  # counts the observed signs as one of the permutations (Phipson and Smyth 2010)
    as_far = np.abs(sums) >= abs(data.sum()) - 1e-9 * np.abs(data).sum()
    return float((as_far.sum() + extra) / (len(sums) + extra))


def mcnemar(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the exact two-sided p-value of McNemar's test on paired binary values (above 0 counts as yes).

    It is 1 if the two sides never differ.
    """
    from math import comb

    only_left = sum(a > 0 >= b for a, b in zip(left, right, strict=True))
    only_right = sum(b > 0 >= a for a, b in zip(left, right, strict=True))
    n = only_left + only_right
    tail = sum(comb(n, k) for k in range(min(only_left, only_right) + 1))
    return min(1.0, 2 * tail / 2**n)
