"""`esd+kd`: the control. It is `bilevel` in everything but its start, which is the distilled model.

At equal budget it asks whether it matters to forget while the pruned model is being restored, or only afterwards.
"""

from typing import Any, ClassVar, Literal

from methods.bilevel.method import Bilevel


class EsdKd(Bilevel):
    name: ClassVar[str] = "esd+kd"
    summary: ClassVar[str] = "distilled, then Eq. 8 and negative guidance in turns: bilevel from another start"
    start: ClassVar[Literal["pruned", "distilled", "base"]] = "distilled"
    own_share: ClassVar[float] = 0.5
    # Half the steps: upper ones must be longer to forget as much (results/mini/search.md).
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"upper_rate": 10.0},
        "paper": Bilevel.presets["paper"],
        "released": Bilevel.presets["released"],
        "penalty": Bilevel.presets["penalty"],
        "dynamic-barrier": Bilevel.presets["dynamic-barrier"],
    }
