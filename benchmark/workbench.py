"""What every stage of a run works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from benchmark.console import Progress
    from benchmark.store import Store
    from benchmark.testbeds.base import Testbed


@dataclass(frozen=True)
class Workbench:
    """Testbed, store and the person who watches."""

    testbed: Testbed
    store: Store
    progress: Progress
    device: torch.device
    as_published: bool = False
    """Whether public lists are asked row by row as they are, with their own guidance and size."""
