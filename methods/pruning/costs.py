"""MACs of architecture vectors, computed exactly and differentiably without building the pruned networks."""

from dataclasses import dataclass

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from methods.pruning.architecture import gates, width, within
from methods.pruning.macs import element_macs, module_macs
from methods.pruning.threshold import nearest_threshold, threshold_for
from methods.pruning.vector import KEEP_THRESHOLD, Layout, hardened


@dataclass(frozen=True)
class Costs:
    """MACs of each element of the architecture vectors of a base U-Net. MACs are linear in what a gate keeps."""

    layout: Layout
    whole: float
    """MACs of the base."""
    widths: Tensor
    """MACs of each element of the width gates (total width elements,)."""
    depths: Tensor
    """MACs of each module with a depth gate, without those of its width gates (depth gates,)."""
    owners: Tensor
    """For each width element, index of the depth gate it belongs to; the number of depth gates if it has none."""
    where: str
    """Latent size and text length at which MACs were counted, for error messages."""

    @classmethod
    def of(cls, unet: UNet2DConditionModel, latent_size: int, text_length: int) -> "Costs":
        """Count the MACs of the base `unet` at this latent size and text length."""
        layout, modules = Layout.of(unet), gates(unet)
        macs, per_element = module_macs(unet, latent_size, text_length), element_macs(unet, latent_size, text_length)
        costs, owners = [], []
        rest = {name: float(macs[name]) for name in layout.depths}
        for name, count in layout.widths.items():
            whole = per_element[name] * width(modules[name])
            owner = next((depth for depth in layout.depths if within(name, [depth])), None)
            if owner:
                rest[owner] -= whole
            costs += [whole / count] * count
            owners += [layout.depths.index(owner) if owner else len(layout.depths)] * count
        doubles = torch.tensor(costs, dtype=torch.float64), torch.tensor(list(rest.values()), dtype=torch.float64)
        where = f"latents {latent_size}x{latent_size}, {text_length} tokens"
        return cls(layout, float(macs[""]), *doubles, torch.tensor(owners), where)

    def share(self, vector: Tensor) -> Tensor:
        """Return the shares (...) of the base's MACs that vectors (..., length) keep, with gradients."""
        cut = [len(self.widths), len(self.depths)]
        widths, depths = vector.to(self.widths).split(cut, dim=-1)
        alive = torch.cat([depths, torch.ones_like(depths[..., :1])], dim=-1)[..., self.owners]
        lost: Tensor = (1 - widths * alive) @ self.widths + (1 - depths) @ self.depths
        return 1 - lost / self.whole

    def least(self) -> float:
        """Return the share of MACs of the smallest network that the gates can produce."""
        return float(self.share(hardened(self.layout, torch.zeros(self.layout.length))))

    def harden(self, scores: Tensor, macs: float) -> Tensor:
        """Return the vector (length,) of 0 and 1 that keeps the highest scores, with MACs nearest to `macs`.

        Raises:
            BudgetError: `macs` is not a fraction, or is below the smallest reachable one, which the message states.
        """
        scores = scores.detach().double().clone()
        top = float(scores.max()) + 1

        def kept(threshold: float) -> Tensor:
            return hardened(self.layout, scores - min(threshold, top) + KEEP_THRESHOLD)

        def share(threshold: float) -> float:
            return float(self.share(kept(threshold)))

        first = kept(threshold_for(macs, scores, share, f"width and depth gates ({self.where})"))
        # One depth gate may be several per cent of all MACs. So depth is fixed first, and widths meet the budget.
        count = len(self.widths)
        scores[count:] = torch.where(first[count:] > 0, top, -torch.inf)
        return kept(nearest_threshold(macs, scores[:count], share)).float()
