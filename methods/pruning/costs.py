"""What an architecture vector costs, in MACs, without building its network: exact, and differentiable."""

from dataclasses import dataclass

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from methods.pruning.architecture import gates, width, within
from methods.pruning.macs import element_macs, module_macs
from methods.pruning.threshold import nearest_threshold, threshold_for
from methods.pruning.vector import STAYS, Layout, hardened


@dataclass(frozen=True)
class Costs:
    """MACs by the numbers of a U-Net's vectors; all gates are linear in what they keep."""

    layout: Layout
    whole: float
    """MACs of the base."""
    widths: Tensor
    """MACs (numbers of all width gates,) of one number each."""
    depths: Tensor
    """MACs (depth gates,) of what is left of a module with a depth gate when its width gates are left out."""
    owners: Tensor
    """For each width number, the depth gate that it goes with; the number of depth gates for none."""
    where: str
    """How MACs were counted."""

    @classmethod
    def of(cls, unet: UNet2DConditionModel, latent_size: int, text_length: int) -> "Costs":
        """Count the base `unet` at this latent size and text length."""
        layout, found = Layout.of(unet), gates(unet)
        macs, each = module_macs(unet, latent_size, text_length), element_macs(unet, latent_size, text_length)
        costs, owners = [], []
        rest = {name: float(macs[name]) for name in layout.depths}
        for name, count in layout.widths.items():
            whole = each[name] * width(found[name])
            owner = next((depth for depth in layout.depths if within(name, [depth])), None)
            if owner:
                rest[owner] -= whole
            costs += [whole / count] * count
            owners += [layout.depths.index(owner) if owner else len(layout.depths)] * count
        doubles = torch.tensor(costs, dtype=torch.float64), torch.tensor(list(rest.values()), dtype=torch.float64)
        where = f"latents {latent_size}x{latent_size}, {text_length} tokens"
        return cls(layout, float(macs[""]), *doubles, torch.tensor(owners), where)

    def share(self, vector: Tensor) -> Tensor:
        """Return the share (...,) of the base's MACs that vectors (..., length) keep; gradients flow."""
        cut = [len(self.widths), len(self.depths)]
        widths, depths = vector.to(self.widths).split(cut, dim=-1)
        alive = torch.cat([depths, torch.ones_like(depths[..., :1])], dim=-1)[..., self.owners]
        lost = (1 - widths * alive) @ self.widths + (1 - depths) @ self.depths
        return 1 - lost / self.whole

    def least(self) -> float:
        """Return the share of the smallest network that the gates can make."""
        return float(self.share(hardened(self.layout, torch.zeros(self.layout.length))))

    def harden(self, scores: Tensor, macs: float) -> Tensor:
        """Return the vector (length,) of 0 and 1 that keeps the best scores and comes nearest to `macs`.

        Raises:
            BudgetError: `macs` is not a fraction, or less than the gates can reach (the least is named).
        """
        scores = scores.detach().double().clone()
        top = float(scores.max()) + 1

        def kept(threshold: float) -> Tensor:
            return hardened(self.layout, scores - min(threshold, top) + STAYS)

        def share(threshold: float) -> float:
            return float(self.share(kept(threshold)))

        first = kept(threshold_for(macs, scores, share, f"width and depth gates ({self.where})"))
        # One depth gate may be several per cent of all MACs: with depth as it is now, widths meet the budget closely.
        count = len(self.widths)
        scores[count:] = torch.where(first[count:] > 0, top, -torch.inf)
        return kept(nearest_threshold(macs, scores[:count], share)).float()
