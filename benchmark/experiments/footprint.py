"""Measures a pruned U-Net: parameters, MACs counted in two ways, time of a forward pass, and cost of the pruning."""

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
    """Costs of a pruned U-Net, and of pruning it."""

    pruning: str
    macs: float
    """Requested share of the base's MACs, 0 to 1."""
    counted: float
    """Share of the base's MACs as counted by this code."""
    published: float
    """Share of the base's MACs as counted in papers on pruning."""
    parameters: int
    milliseconds: float
    """Median time of a forward pass, per image."""
    spent: float | str
    """FLOPs of choosing what to prune; empty for old artefacts, which did not count them."""


COLUMNS = tuple(FootprintRow.__annotations__)


def footprint(bench: Workbench, pruned: Pruned) -> FootprintRow:
    """Measure a pruned U-Net on this machine and return its row."""
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
        "spent": counted.get("spent", ""),
    }


def write(rows: Sequence[FootprintRow], path: Path) -> Path:
    """Write the rows as CSV and return the path."""
    return durable.write_csv(path, COLUMNS, [list(row.values()) for row in rows])
