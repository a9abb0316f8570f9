"""FID: Fréchet distance between generated and real images."""

import torch
from torch import Tensor

from metrics.base import FeatureMetric, check_features

BLOCKS = 10
"""Number of jackknife blocks, as for KID."""


class FrechetDistance(FeatureMetric):
    """FID (Heusel et al. 2017, arXiv:1706.08500): Fréchet distance between two Gaussians fitted to features.

    Sums and sums of outer products are accumulated in float64. Memory is therefore O(d²) for any number of images, and
    the order of images does not matter. FID is biased and decreases with N: compare only values at equal N, and report
    the floor (real against real images). Unit: squared feature units; 0 for equal statistics. Lower is better for kept
    prompts.

    Arguments:
        back_end: name of the encoder.
        size: width d of its features.
    """

    name = "fid"
    unit = "feature²"
    higher_is_better = False
    stated_for = "kept"

    counts: Tensor
    sums: Tensor
    outers: Tensor

    def __init__(self, back_end: str, size: int) -> None:
        super().__init__(back_end)
        self.size = size
        self._fixed: tuple[Tensor, Tensor] | None = None
        # Row 0 is for generated images, row 1 for real images.
        self.add_state("counts", default=torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("sums", default=torch.zeros(2, size, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("outers", default=torch.zeros(2, size, size, dtype=torch.float64), dist_reduce_fx="sum")

    @classmethod
    def from_stats(cls, back_end: str, mean: Tensor, covariance: Tensor) -> "FrechetDistance":
        """Return a metric with fixed statistics of real images.

        Only generated features can be added to this metric, and `reset()` keeps the statistics of real images.

        Arguments:
            back_end: name of the encoder.
            mean: mean (d,) of the features of real images, as returned by `stats`.
            covariance: covariance (d, d) of these features, as returned by `stats`.

        Raises ValueError for other shapes.
        """
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            shapes = f"{tuple(mean.shape)} and {tuple(covariance.shape)}"
            raise ValueError(f"statistics must be a mean (d,) and a covariance (d, d), not {shapes}")
        metric = cls(back_end, len(mean))
        # Not a torchmetrics state, because states are summed over processes and every process has the full statistics.
        metric._fixed = mean.to(torch.float64), covariance.to(torch.float64)
        return metric

    def update(self, features: Tensor, real: bool) -> None:
        """Add features (N, d) of real or generated images. Raises ValueError if their width is not `size`."""
        check_features(features, size=self.size)
        if real and self._fixed is not None:
            raise ValueError("the statistics of real images are fixed by from_stats: add only generated features")
        features, side = features.to(torch.float64), int(real)
        self.counts[side] += len(features)
        self.sums[side] += features.sum(dim=0)
        self.outers[side] += features.T @ features

    def _stats(self, real: bool) -> tuple[Tensor, Tensor]:
        if real and self._fixed is not None:
            return self._fixed[0].to(self.sums.device), self._fixed[1].to(self.sums.device)
        n = int(self.counts[int(real)])
        if n < 2:
            side = "real" if real else "generated"
            raise ValueError(f"{self.full_name} needs at least 2 {side} images for a covariance, but has {n}")
        mean = self.sums[int(real)] / n
        return mean, (self.outers[int(real)] - n * torch.outer(mean, mean)) / (n - 1)

    def stats(self, real: bool) -> tuple[Tensor, Tensor]:
        """Return mean (d,) and unbiased covariance (d, d) of the features, float64. Must be called on every process."""
        with self.sync_context():
            return self._stats(real)

    def compute(self) -> Tensor:
        """Return the Fréchet distance. Raises ValueError with fewer than 2 real or generated images."""
        return frechet_distance(*self._stats(real=False), *self._stats(real=True))

    def standard_error(self, features: Tensor) -> Tensor:
        """Return the standard error of `compute()`, a float64 scalar, by a block jackknife over the generated images.

        Image k belongs to block k modulo the number of blocks, and each jackknife value leaves one block out. (A
        bootstrap would repeat images, which changes FID.) The error describes the variation between image samples of
        the same model, but not between training runs.

        Arguments:
            features: all generated features (N, d) that were added, because the metric stores only their sums.

        Raises ValueError if the number of features differs from the number that was added, or is below 4.
        """
        n, added = len(features), int(self.counts[0])
        if n != added or n < 4:
            raise ValueError(f"a jackknife needs all {added} generated features, and at least 4, not {n}")
        blocks, fixed, rows = min(BLOCKS, n // 2), self._stats(real=True), features.to(torch.float64)
        sums, outers = rows.sum(dim=0), rows.T @ rows
        left_out = []
        for block in (rows[k::blocks] for k in range(blocks)):
            m = n - len(block)
            mean = (sums - block.sum(dim=0)) / m
            covariance = (outers - block.T @ block - m * torch.outer(mean, mean)) / (m - 1)
            left_out.append(frechet_distance(mean, covariance, *fixed))
        return ((blocks - 1) * torch.stack(left_out).var(correction=0)).sqrt()


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """Return |μ − ν|² + tr(A) + tr(B) − 2 tr((AB)^½) for means (d,) and covariances (d, d): scalar float64.

    The trace of the matrix root is the sum of the square roots of the eigenvalues of AB. These are real and not
    negative, because AB is similar to a positive semi-definite matrix. The result is as precise as with
    `scipy.linalg.sqrtm`, in a fifth of the time.
    """
    # If AB is singular (fewer images than features), rounding can make zero eigenvalues slightly negative (about 1e-16
    # of the largest). Their roots are then imaginary, with real part 0, which is the correct value.
    root_trace = torch.linalg.eigvals(covariance @ other_covariance).sqrt().real.sum()
    shift = (mean - other_mean).square().sum()
    distance: Tensor = shift + covariance.trace() + other_covariance.trace() - 2 * root_trace
    return distance
