"""`esd+kd`: the control of `bilevel`. It is the same method, but it starts from the distilled model.

At equal budget it shows whether it matters to erase while the pruned model is being restored, or only afterwards.
"""

from typing import ClassVar

from benchmark.json_types import Settings
from methods.base import Start
from methods.bilevel.method import Bilevel


class EsdKd(Bilevel):
    name: ClassVar[str] = "esd+kd"
    summary: ClassVar[str] = "distilled, then Eq. 8 and negative guidance in turns: bilevel from another start"
    start: ClassVar[Start] = "distilled"
    own_share = 0.5
    # It takes half as many steps, so upper steps need a higher rate to erase as much (results/mini/search.md).
    presets: ClassVar[dict[str, Settings]] = {
        "default": {"upper_rate": 10.0},
        "paper": Bilevel.presets["paper"],
        "released": Bilevel.presets["released"],
        "penalty": Bilevel.presets["penalty"],
        "dynamic-barrier": Bilevel.presets["dynamic-barrier"],
    }
