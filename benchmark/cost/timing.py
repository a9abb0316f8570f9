"""Clocks, and the best rate of a device."""

from __future__ import annotations

import time

import torch

SIDE = {"cuda": 8192, "cpu": 2048}
"""Rows of the square matrices by which the device's best rate is measured: a GPU is done with smaller ones before it
has begun."""


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product, the best of a few."""
    side = SIDE.get(device.type, SIDE["cpu"])
    a = torch.randn(side, side, device=device).to(dtype)
    times = []
    for _ in range(4):
        began = now(device)
        a @ a
        times.append(now(device) - began)
    return 2 * side**3 / min(times[1:])


def now(device: torch.device) -> float:
    """Seconds, with all work that is queued on the device done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
