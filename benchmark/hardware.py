"""Queries the hardware of this machine, without importing torch where possible."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmark.errors import UsageError

if TYPE_CHECKING:
    import torch


def gpus() -> list[str]:
    """Return name and memory of each GPU from `nvidia-smi`; torch is not used, because it takes seconds to import."""
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1.5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def cuda_of_torch() -> bool:
    """Return whether the installed torch is built with CUDA, from torch's version.py."""
    spec = find_spec("torch")
    file = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    text = file.read_text("utf-8") if file and file.is_file() else ""
    return bool(re.search(r"^cuda\b[^=]*=\s*['\"]", text, re.MULTILINE))


@dataclass(frozen=True)
class Device:
    """Data-sheet values of a device: dense rates without sparsity; bf16 accumulates in fp32."""

    name: str
    memory: float
    """GB."""
    bf16: float
    """TFLOP/s of matrix products."""
    fp32: float
    """TFLOP/s outside the tensor cores, which torch does not use for fp32 matrices unless TF32 is allowed."""
    kind: Literal["GPU", "CPU"] = "GPU"


CORE = 0.17
"""Assumed peak rate of a CPU core in TFLOP/s; testbed mini trains at about half of it per core."""


def cpu(cores: int | None = None) -> Device:
    """Describe the CPU of this machine.

    Args:
        cores: number of cores; all by default.
    """
    count = cores or os.cpu_count() or 1
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        memory = float("inf")
    return Device(f"{count} CPU core{'s' * (count > 1)}", memory, CORE * count, CORE * count, "CPU")


def usable(device: str) -> torch.device:
    """Return the torch device with this name.

    Raises:
        UsageError: if it does not exist or cannot be used.
    """
    import torch

    try:
        torch_device = torch.device(device)
        torch.empty(0, device=torch_device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"--device {device} cannot be used on this machine ({str(error).splitlines()[0]}): try --device cpu."
        ) from error
    return torch_device
