"""A checkpoint made elsewhere, as a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmark import registry
from benchmark.errors import UsageError
from benchmark.models import checkpoint_formats
from benchmark.records.record import BROUGHT

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.model import Model
    from benchmark.api.testbed import Workbench


def check_name(name: str) -> None:
    """UsageError for a name that rows of the table have already."""
    if not name.strip() or name in (*registry.names("methods"), "base"):
        raise UsageError(f"--name '{name}' is what the table calls a row of its own: choose another.")


def brought(bench: Workbench, checkpoint: checkpoint_formats.Checkpoint, name: str) -> Model:
    """The checkpoint as a model: known by its checksum, trained by nobody here."""
    from benchmark.api.model import Model
    from methods.pruning.macs import count_macs

    testbed = bench.testbed
    base = testbed.base()
    size, length = testbed.sampler.latent_size, testbed.text_length
    whole = count_macs(base, size, length)
    unet = checkpoint_formats.load(checkpoint, base, testbed.scheduler)
    share, checksum = count_macs(unet, size, length) / whole, checkpoint.sha256()
    counted = {"share": share, "counter": "torch flop_counter", "latent_size": size, "text_length": length}

    def load() -> UNet2DConditionModel:
        return unet.to(bench.device)  # type: ignore[arg-type]

    facts: dict[str, Any] = {
        "method": name, "preset": "default", "variant": "default", "solver": None, "data": BROUGHT, "budget": {},
        "seed": 0, "recipe": 1, "pruning": BROUGHT, "macs": min(1.0, round(share, 4)),
    }  # fmt: skip
    identity = {**testbed.identity(), "model": BROUGHT, "checkpoint": checksum}
    told = {**counted, "checkpoint": checksum, "form": checkpoint.form}
    return Model(name, identity, facts, load, list, list, lambda: told)
