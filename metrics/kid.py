"""KID: kernel distance between generated and real images."""

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from metrics.base import FeatureMetric, check_features

BLOCKS = 10
"""Number of jackknife blocks: enough for a stable estimate and low memory, few enough to be fast."""


class KernelDistance(FeatureMetric):
    """KID (Bińkowski et al. 2018, arXiv:1801.01401): unbiased squared MMD with the kernel (x·y/d + 1)³.

    The sum runs over all pairs of images instead of random subsets, so the value is exact and repeatable. It is
    unbiased at any N, so it can be slightly negative; its expectation is 0 for equal distributions. Unit: MMD², *not*
    multiplied by 1000. Lower is better for kept prompts.

    Arguments:
        back_end: name of the encoder.
        size: width d of its features.
    """

    name = "kid"
    unit = "MMD²"
    higher_is_better = False
    stated_for = "kept"

    generated: list[Tensor] | Tensor
    real: list[Tensor] | Tensor

    def __init__(self, back_end: str, size: int) -> None:
        super().__init__(back_end)
        self.size = size
        # One-dimensional float32, because torchmetrics uses an empty tensor of this kind for a process without values.
        self.add_state("generated", default=[], dist_reduce_fx="cat")
        self.add_state("real", default=[], dist_reduce_fx="cat")

    def update(self, features: Tensor, real: bool) -> None:
        """Add features (N, d) of real or generated images. Raises ValueError if their width is not `size`."""
        check_features(features, size=self.size)
        side = self.real if real else self.generated
        assert isinstance(side, list)
        side.append(features.to(torch.float32).flatten())

    def _sides(self, at_least: int) -> tuple[Tensor, Tensor]:
        sides = []
        for name, state in (("generated", self.generated), ("real", self.real)):
            flat = dim_zero_cat(state) if len(state) else torch.empty(0)
            sides.append(flat.reshape(-1, self.size).to(torch.float64))
            if len(sides[-1]) < at_least:
                raise ValueError(f"{self.full_name} needs at least {at_least} {name} images, but has {len(sides[-1])}")
        return sides[0], sides[1]

    def compute(self) -> Tensor:
        """Return the kernel distance. Raises ValueError with fewer than 2 real or generated images."""
        generated, real = self._sides(at_least=2)
        return _mmd(*_block_sums(generated, real, min(BLOCKS, len(generated), len(real))))

    def standard_error(self) -> Tensor:
        """Return the standard error of `compute()` by a block jackknife. Must be called on every process.

        Image k belongs to block k modulo the number of blocks, so that images sorted by subject are spread over all
        blocks. Each jackknife value leaves out one block of generated and one block of real images. Raises ValueError
        with fewer than 4 real or generated images.
        """
        with self.sync_context():
            generated, real = self._sides(at_least=4)
        blocks = min(BLOCKS, len(generated) // 2, len(real) // 2)
        sums = _block_sums(generated, real, blocks)
        left_out = torch.stack([_mmd(*_without(block, *sums)) for block in range(blocks)])
        return ((blocks - 1) * left_out.var(correction=0)).sqrt()


def _kernel(left: Tensor, right: Tensor) -> Tensor:
    return (left @ right.T / left.shape[1] + 1) ** 3


def _block_sums(x: Tensor, y: Tensor, blocks: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return sums of the kernel over pairs of blocks, xx, yy, xy (blocks, blocks), and the block sizes (2, blocks).

    Pairs of an image with itself are left out. All jackknife values are computed from these sums, so only one pair of
    blocks is in memory at a time.
    """
    xs, ys = [x[block::blocks] for block in range(blocks)], [y[block::blocks] for block in range(blocks)]
    xx, yy, xy = torch.zeros(3, blocks, blocks, dtype=torch.float64, device=x.device)
    for i in range(blocks):
        for j in range(blocks):
            xx[i, j], yy[i, j] = _kernel(xs[i], xs[j]).sum(), _kernel(ys[i], ys[j]).sum()
            xy[i, j] = _kernel(xs[i], ys[j]).sum()
        xx[i, i] -= ((xs[i].square().sum(dim=1) / x.shape[1] + 1) ** 3).sum()
        yy[i, i] -= ((ys[i].square().sum(dim=1) / y.shape[1] + 1) ** 3).sum()
    sizes = torch.tensor([[len(part) for part in xs], [len(part) for part in ys]], dtype=torch.float64)
    return xx, yy, xy, sizes


def _without(block: int, xx: Tensor, yy: Tensor, xy: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rest = torch.arange(len(xx)) != block
    return xx[rest][:, rest], yy[rest][:, rest], xy[rest][:, rest], sizes[:, rest]


def _mmd(xx: Tensor, yy: Tensor, xy: Tensor, sizes: Tensor) -> Tensor:
    """Return the unbiased MMD² (Gretton et al. 2012, JMLR 13, Eq. 3) from sums over pairs of blocks."""
    n, m = sizes.sum(dim=1).tolist()
    mmd: Tensor = xx.sum() / (n * (n - 1)) + yy.sum() / (m * (m - 1)) - 2 * xy.sum() / (n * m)
    return mmd
