"""`esd+kd`: the control for `bilevel`. It is the same method, but it starts from the distilled model.

At equal budget, the comparison shows whether it helps to erase during the restoration of the pruned model instead of
after it.
"""

from typing import ClassVar

from benchmark.json_types import Settings
from methods.base import Start
from methods.bilevel.method import Bilevel


class EsdKd(Bilevel):
    name: ClassVar[str] = "esd+kd"
    summary: ClassVar[str] = "the same alternation as bilevel, but starting from the distilled model"
    start: ClassVar[Start] = "distilled"
    own_share = 0.5
    # Half the budget goes to distillation, so upper steps need a higher rate to erase as much (results/mini/search.md).
    presets: ClassVar[dict[str, Settings]] = {
        "default": {"upper_rate": 10.0},
        "paper": Bilevel.presets["paper"],
        "released": Bilevel.presets["released"],
        "penalty": Bilevel.presets["penalty"],
        "dynamic-barrier": Bilevel.presets["dynamic-barrier"],
    }
