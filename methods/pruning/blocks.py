"""Removing whole resnets and transformers to a MAC budget, in BK-SDM's order (Kim et al. 2023, arXiv 2305.15798).

BK-SDM's three sizes each remove more than the one before:

    base    all but the first of each down stage, all but the first and last of each up stage
    small   the mid block
    tiny    the innermost stage

After them the others go that can go, so that any budget can be asked for. Within each of these, stages go from the
innermost outwards, and in a stage the last goes first. To meet a budget, modules go one by one in this order; one that
would lead too far below the budget is passed over, and of the SLACKS that say how far that is, the one is taken that
comes nearest to the budget. Nothing is cut in those that stay.

On SD 2.1 `base` and `small` are the published networks. `tiny` keeps the innermost stage's down- and upsampler (29.5 M
parameters) and runs at its resolution, so that every block still has features to compare with its teacher's.
"""

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from methods.pruning.architecture import Architecture
from methods.pruning.depth import droppable, stages
from methods.pruning.macs import module_macs
from methods.pruning.threshold import check_fraction, check_reach

SLACKS = (0.0, 0.005, 0.01, 0.015, 0.02)
"""How far below the asked fraction of MACs a removal may lead."""


def ladder(unet: UNet2DConditionModel) -> dict[str, list[str]]:
    """Return what each size removes beyond the one before it, in order; "rest" is what could go after `tiny`."""
    places, can = list(stages(unet)), droppable(unet)
    inner = {places[len(unet.down_blocks) - 1], places[len(unet.down_blocks) + 1]}

    def rung(name: str) -> str:
        place, kind, number = name.rsplit(".", 2)
        count = len(getattr(unet.get_submodule(place), kind))
        if place == "mid_block":
            return "small"
        if 0 < int(number) < count - (1 if place.startswith("up") else 0):
            return "base"
        return "tiny" if place in inner else "rest"

    def outwards(name: str) -> tuple[int, int, str]:
        place, kind, number = name.rsplit(".", 2)
        return abs(places.index(place) - len(unet.down_blocks)), -int(number), kind

    ordered = sorted(can, key=outwards)
    return {size: [name for name in ordered if rung(name) == size] for size in ("base", "small", "tiny", "rest")}


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """Whole resnets and transformers are removed, in BK-SDM's order; what stays is as wide as it was.

    Return the smaller copy of `unet`, and what it kept.

    Raises:
        BudgetError: `macs` is not a fraction, or less than is left when all is gone that can go (the least is named).
    """
    check_fraction(macs)
    cost = module_macs(unet, latent_size, text_length)
    order = [name for names in ladder(unet).values() for name in names]
    least = 1 - sum(cost[name] for name in order) / cost[""]
    check_reach(macs, least, f"removing blocks (latents {latent_size}x{latent_size}, {text_length} tokens)")

    def removed(slack: float) -> tuple[float, list[str]]:
        gone: list[str] = []
        share = 1.0
        for name in order:
            less = share - cost[name] / cost[""]
            if less >= macs - slack:
                gone, share = [*gone, name], less
        return abs(share - macs), gone

    _, gone = min((removed(slack) for slack in SLACKS), key=lambda found: found[0])
    architecture = Architecture.of(unet, Architecture.full(unet).kept(), gone)
    return architecture.apply(unet), architecture
