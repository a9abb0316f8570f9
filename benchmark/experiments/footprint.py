"""Footprint of a pruning: parameters, MACs counted in two ways, time of a forward pass, and cost of the pruning."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from benchmark.models.pruned import Pruned
from benchmark.store import durable

if TYPE_CHECKING:
    from benchmark.api.testbed import Workbench


WARM_UP, TIMED, BATCH = 2, 10, 8
"""Number of passes that are not timed, number of timed passes, and images per pass."""


class FootprintRow(TypedDict):
    """What a pruned U-Net takes, and what pruning it took."""

    pruning: str
    macs: float
    counted: float
    """Share of the base's MACs as computed."""
    published: float
    """The same as papers on pruning count it."""
    parameters: int
    milliseconds: float
    """Median of a forward pass, per image."""
    spent: float | str
    """FLOPs of choosing what to keep; empty for artefacts from before it was counted."""


COLUMNS = tuple(FootprintRow.__annotations__)


def footprint(bench: Workbench, pruned: Pruned) -> FootprintRow:
    """Return the row of a pruned U-Net.

    It has the shares of the base's MACs as computed and as published, the number of parameters, the median milliseconds
    per image on this machine, and the FLOPs that choosing what to keep took.
    """
    import torch

    unet = pruned.load(bench)[0].float().to(bench.device)
    size, length = bench.testbed.sampler.latent_size, bench.testbed.text_length
    config: Any = unet.config
    x = torch.zeros(BATCH, config.in_channels, size, size, device=bench.device)
    text = torch.zeros(BATCH, length, config.cross_attention_dim, device=bench.device)
    times = []
    with torch.no_grad():
        for _ in range(WARM_UP + TIMED):
            began = time.perf_counter()
            unet(x, 500, text)
            if bench.device.type == "cuda":
                torch.cuda.synchronize(bench.device)
            times.append(1000 * (time.perf_counter() - began) / BATCH)
    counted = pruned.counted(bench)
    return {
        "pruning": pruned.pruning,
        "macs": pruned.macs,
        "counted": counted["share"],
        "published": counted["published"]["share"],
        "parameters": sum(p.numel() for p in unet.parameters()),
        "milliseconds": round(statistics.median(times[WARM_UP:]), 3),
        "spent": counted.get("spent", ""),  # unknown for artefacts from before it was counted
    }


def write(rows: Sequence[FootprintRow], path: Path) -> Path:
    """Write the rows as CSV and return the path."""
    return durable.write_csv(path, COLUMNS, [list(row.values()) for row in rows])
