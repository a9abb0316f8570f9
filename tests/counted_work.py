"""Counts what networks compute in a process: rows of their inputs, by the network's class."""

from __future__ import annotations

import atexit
import json
from collections import Counter
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

NETWORKS = {
    "UNet2DConditionModel": "U-Net",
    "Encoder": "VAE encoder",
    "Decoder": "VAE decoder",
    "CLIPTextModel": "text encoder",
    "Oracle": "oracle",
    "CLIP": "CLIP",
}
"""Networks of a run by class: one pass of any of them is counted once, with the rows of its batch."""


def count_rows(file: Path) -> None:
    """Count rows from now on, and write them to `file` at the end of the process."""
    rows: Counter[str] = Counter()

    def count(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        name = NETWORKS.get(type(module).__name__)
        if name and inputs and isinstance(inputs[0], Tensor):
            rows[name] += len(inputs[0])

    register_module_forward_pre_hook(count)
    atexit.register(lambda: file.write_text(json.dumps(rows)))
