"""What a pruning saves (parameters, MACs by both counters, the time of a forward pass here) and what choosing takes."""

from __future__ import annotations

import csv
import io
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.models.pruned import Pruned
from benchmark.store import durable

if TYPE_CHECKING:
    from benchmark.api.testbed import Workbench


WARM_UP, TIMED, BATCH = 2, 10, 8
"""Passes that find the machine cold, passes that are timed, and images in each."""
COLUMNS = ("pruning", "macs", "counted", "published", "parameters", "milliseconds", "spent")


def footprint(bench: Workbench, pruned: Pruned) -> dict[str, Any]:
    """One row: shares of the base's MACs as counted and as published, parameters, median milliseconds an image, and the
    FLOPs that were spent on choosing what to keep."""
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
        "spent": counted.get("spent", ""),  # pruned before this was counted: not known
    }


def write(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """The rows as CSV."""
    text = io.StringIO()
    sheet = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    sheet.writeheader()
    sheet.writerows(rows)
    durable.write_bytes(path, text.getvalue().encode())
    return path
