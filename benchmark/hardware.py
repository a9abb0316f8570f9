"""The hardware of this machine, queried without torch where possible."""

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
    """The GPUs that the driver lists; torch is not used, because it takes seconds to import."""
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1.5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def cuda_of_torch() -> bool:
    """Whether the installed torch is built with CUDA, as its own version.py says."""
    spec = find_spec("torch")
    file = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    text = file.read_text("utf-8") if file and file.is_file() else ""
    return bool(re.search(r"^cuda\b[^=]*=\s*['\"]", text, re.MULTILINE))


@dataclass(frozen=True)
class Device:
    """A device by its data sheet: dense rates without sparsity, bf16 with fp32 sums."""

    name: str
    memory: float
    """GB."""
    bf16: float
    """TFLOP/s of matrix products."""
    fp32: float
    """TFLOP/s outside the tensor cores, as torch multiplies fp32 matrices unless TF32 is allowed."""
    kind: Literal["GPU", "CPU"] = "GPU"


CORE = 0.17
"""TFLOP/s that a CPU core is taken to do at best: testbed mini trains at about half of it a core."""


def cpu(cores: int | None = None) -> Device:
    """The CPU of this machine, by the number of its cores (and its memory, where the system tells it)."""
    count = cores or os.cpu_count() or 1
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        memory = float("inf")
    return Device(f"{count} CPU core{'s' * (count > 1)}", memory, CORE * count, CORE * count, "CPU")


def usable(device: str) -> torch.device:
    """Return the device of this name. UsageError, before any work, if it does not exist or cannot be used."""
    import torch

    try:
        torch_device = torch.device(device)
        torch.empty(0, device=torch_device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"--device {device} cannot be used here ({str(error).splitlines()[0]}): try --device cpu."
        ) from error
    return torch_device
