"""What every stage of a run works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmark.errors import UsageError
from methods.base import Precision

if TYPE_CHECKING:
    import torch

    from benchmark.console import Progress
    from benchmark.store import Store
    from benchmark.testbeds.base import Testbed
    from methods.pieces import Pieces


def usable(device: str) -> torch.device:
    """The device of this name. UsageError, before any work, for one that there is not or that cannot be used."""
    import torch

    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"--device {device} cannot be used here ({str(error).splitlines()[0]}): try --device cpu."
        ) from error
    return found


def _together() -> Pieces:
    from benchmark.shards import SIZE
    from methods.pieces import Pieces

    return Pieces("sampling", SIZE)


@dataclass(frozen=True)
class Workbench:
    """Testbed, store and the person who watches."""

    testbed: Testbed
    store: Store
    progress: Progress
    device: torch.device
    as_published: bool = False
    """Whether public lists are asked row by row as they are, with their own guidance and size."""
    precision: Precision = "fp32"
    """What models are trained and sampled in."""
    compiles: bool = False
    """Whether models that sample are compiled."""
    together: Pieces = field(default_factory=_together)
    """How many pictures are sampled at once: a shard, or what memory holds."""

    @property
    def stated(self) -> dict[str, str]:
        """What identities and records say of the precision: nothing of fp32, which all have that say nothing."""
        return {} if self.precision == "fp32" else {"precision": self.precision}
