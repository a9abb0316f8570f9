"""Axes whose numbers are plain text ("0.5"), because SVG with real text would show mathematical notation as code."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def log_ticks(lowest: float, highest: float) -> list[float]:
    """Return two to six round numbers between two logarithms: powers of ten, with their multiples if these are few."""
    powers = range(math.floor(lowest), math.ceil(highest) + 1)
    for factors in ((1,), (1, 2, 5), range(1, 10)):
        values = [factor * 10.0**power for power in powers for factor in factors]
        inside = [value for value in values if lowest <= math.log10(value) <= highest]
        if len(inside) >= 3:
            break
    if len(inside) < 2:
        inside = [float(f"{10**end:.2g}") for end in (lowest, highest)]
    return inside[:: -(-len(inside) // 6)]


def use_log_scale(axes: Axes) -> None:
    """Give the y-axis, on which everything is drawn already, a logarithmic scale with plain round numbers."""
    axes.set_yscale("log")
    lowest, highest = (math.log10(limit) for limit in axes.get_ylim())
    ticks = log_ticks(lowest, highest)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)


def count_flops(axes: Axes) -> None:
    """Show the numbers of the x-axis, which are FLOPs, with prefixes: "5 TFLOPs"."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.xaxis.set_major_formatter(EngFormatter(unit="FLOPs"))
    axes.xaxis.set_major_locator(MaxNLocator(5))
