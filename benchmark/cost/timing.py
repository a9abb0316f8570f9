"""Measures time and the peak FLOP/s of a device."""

from __future__ import annotations

import time

import torch

SIDE = {"cuda": 8192, "cpu": 2048}
"""Number of rows of the square matrices that measure the peak rate. On a GPU, the time of a product of smaller ones
would mostly be launch overhead."""


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a large matrix product: the fastest of three, after one that is not timed."""
    side = SIDE.get(device.type, SIDE["cpu"])
    a = torch.randn(side, side, device=device).to(dtype)
    times = []
    for _ in range(4):
        began = now(device)
        a @ a
        times.append(now(device) - began)
    return 2 * side**3 / min(times[1:])


def now(device: torch.device) -> float:
    """Return the time in seconds, after all computations queued on the device have finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
