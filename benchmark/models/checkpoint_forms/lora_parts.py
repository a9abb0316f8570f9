"""Adds the part of a LoRA that changes the text encoder to the testbed's text encoder."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.models.checkpoint_forms.lora import OF_TEXT_ENCODER, add, read_half
from benchmark.models.checkpoint_forms.lora_scaling import read_config
from benchmark.models.checkpoint_forms.recognise import TEXT_ENCODER, names_in, part_of
from benchmark.models.part_files import checksum, load_text_encoder, tensors_checksum
from benchmark.models.part_source import PartSource
from benchmark.models.pipeline_parts import NO_FOLDER, Difference
from metrics.networks.weights import check_values

if TYPE_CHECKING:
    from torch import Tensor


class LoraParts(PartSource):
    """The testbed's text encoder with a LoRA. A LoRA has no other parts besides its U-Net.

    Args:
        place: file of the LoRA.
        config: the adapter_config.json of a LoRA that PEFT saved; None for other LoRAs.
        scale: factor of the whole change, in addition to alpha / rank.
    """

    def __init__(self, place: Path, config: Path | None, scale: float) -> None:
        super().__init__(place)
        self._config, self._scale = config, scale

    def has(self, part: str) -> bool:
        return part == TEXT_ENCODER and any(part_of(name) == TEXT_ENCODER for name in names_in(self.place))

    def compare(self, part: str, ours: Path) -> list[Difference]:
        if not self.has(part):
            return []
        if not (ours / part).is_dir():
            return [Difference(part, NO_FOLDER, usable=False)]
        _, count = self._merged(ours)
        layers = "1 layer" if count == 1 else f"{count} layers"
        return [Difference(part, f"a LoRA of {layers}")] if count and self._scale else []

    def checksum(self, part: str) -> str:
        """Return the sha256 of the change. The scale is a part of the model's identity in any case."""
        config = read_config(self.place, self._config, TEXT_ENCODER)
        return checksum({"tensors": tensors_checksum(self._tensors), "config": config})

    def load(self, part: str, ours: Path) -> Any:
        return self._merged(ours)[0]

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        return read_half(self.place, OF_TEXT_ENCODER)

    def _merged(self, ours: Path) -> tuple[Any, int]:
        """Return the text encoder with the LoRA, and the number of layers with a change other than 0."""
        network = load_text_encoder(ours / TEXT_ENCODER)
        count = add(self.place, self._config, self._tensors, network, OF_TEXT_ENCODER, self._scale)
        check_values(network.state_dict(), f"The text encoder with the LoRA {self.place}")
        return network, count
