"""Finds where the parts of a checkpoint besides its U-Net come from."""

from __future__ import annotations

from benchmark.models.checkpoint_forms.ldm_parts import SingleFileParts
from benchmark.models.checkpoint_forms.lora_parts import LoraParts
from benchmark.models.external_checkpoint import Checkpoint
from benchmark.models.part_source import FolderParts, PartSource


def part_source(checkpoint: Checkpoint) -> PartSource | None:
    """Return the parts of a checkpoint besides its U-Net; None if its form has no other parts."""
    if checkpoint.pipeline is not None:
        return FolderParts(checkpoint.pipeline)
    if checkpoint.form == "ldm":
        return SingleFileParts(checkpoint.place)
    if checkpoint.form == "lora":
        return LoraParts(checkpoint.place, checkpoint.lora_config, checkpoint.lora_scale)
    return None
