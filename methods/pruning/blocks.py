"""Removes whole resnets and transformers to a MAC budget, in BK-SDM's order (Kim et al. 2023, arXiv 2305.15798).

BK-SDM has three sizes. Each size removes these modules in addition to those of the size before:

    base    all but the first module of each down stage, all but the first and last module of each up stage
    small   the mid block
    tiny    the innermost stage

After these, the other removable modules follow, so that smaller budgets can be reached. Within a size, stages are
ordered from the innermost to the outermost, and the last module of a stage comes first. Modules are removed one by one
in this order until the budget is met. A module is skipped if its removal would leave less than the budget minus a
slack. All values of SLACKS are tried, and the result nearest to the budget is used. Remaining modules keep their width.

On SD 2.1, `base` and `small` are the published networks. `tiny` differs from the published one: it keeps the
downsampler and upsampler of the innermost stage (29.5 M parameters) and the resolution of that stage, so that every
block has features to compare with those of the teacher.
"""

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from methods.pruning.architecture import Architecture
from methods.pruning.depth import droppable, stages
from methods.pruning.macs import module_macs
from methods.pruning.threshold import check_fraction, check_reach

SLACKS = (0.0, 0.005, 0.01, 0.015, 0.02)
"""Tolerances below the requested fraction of MACs."""


def ladder(unet: UNet2DConditionModel) -> dict[str, list[str]]:
    """Return the modules that each size removes in addition to the size before it, in order of removal.

    The key "rest" lists the modules that can be removed after those of "tiny".
    """
    places, removable = list(stages(unet)), droppable(unet)
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

    ordered = sorted(removable, key=outwards)
    return {size: [name for name in ordered if rung(name) == size] for size in ("base", "small", "tiny", "rest")}


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int
) -> tuple[UNet2DConditionModel, Architecture]:
    """Removes whole resnets and transformers, in the order of BK-SDM; the others keep their width.

    Returns:
        A smaller copy of `unet`, and its architecture.

    Raises:
        BudgetError: `macs` is not a fraction, or is below the smallest reachable one, which the message states.
    """
    check_fraction(macs)
    cost = module_macs(unet, latent_size, text_length)
    order = [name for names in ladder(unet).values() for name in names]
    least = 1 - sum(cost[name] for name in order) / cost[""]
    check_reach(macs, least, f"removing blocks (latents {latent_size}x{latent_size}, {text_length} tokens)")

    def remove(slack: float) -> tuple[float, list[str]]:
        removed: list[str] = []
        share = 1.0
        for name in order:
            less = share - cost[name] / cost[""]
            if less >= macs - slack:
                removed, share = [*removed, name], less
        return abs(share - macs), removed

    _, removed = min((remove(slack) for slack in SLACKS), key=lambda choice: choice[0])
    architecture = Architecture.of(unet, Architecture.full(unet).kept(), removed)
    return architecture.apply(unet), architecture
