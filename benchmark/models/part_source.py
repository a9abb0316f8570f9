"""The parts of a checkpoint besides its U-Net: those of a pipeline's folder, or of a file (see checkpoint_forms)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmark.models import part_files, pipeline_parts
from benchmark.models.pipeline_parts import Difference


class PartSource(ABC):
    """The text encoder, tokenizer, VAE and noise schedule of a checkpoint, as far as it has them.

    Args:
        place: the checkpoint's folder or file, for messages.
    """

    def __init__(self, place: Path) -> None:
        self.place = place

    @abstractmethod
    def has(self, part: str) -> bool:
        """Return whether the checkpoint has a part of `pipeline_parts.COMPARED`."""

    @abstractmethod
    def compare(self, part: str, ours: Path) -> list[Difference]:
        """Compare one part with that of the testbed's pipeline: return no difference or one.

        Raises:
            DataError: if the part cannot be read.
        """

    def compare_index(self, ours: Path) -> Iterable[Difference]:
        """Return what the checkpoint has besides these parts and the testbed cannot use; by default nothing."""
        return ()

    @abstractmethod
    def checksum(self, part: str) -> str:
        """Return the sha256 that identifies a part by its contents, independently of its path."""

    @abstractmethod
    def load(self, part: str, ours: Path) -> Any:
        """Load a part for which `compare` returns a usable difference.

        Args:
            part: the part.
            ours: folder of the testbed's pipeline.

        Returns:
            A network (fp32, eval mode), a tokenizer, or the fields of a noise schedule.

        Raises:
            DataError: if it is of a wrong class, or damaged.
        """


class FolderParts(PartSource):
    """The parts of a pipeline in a folder."""

    def has(self, part: str) -> bool:
        return (self.place / part).is_dir()

    def compare(self, part: str, ours: Path) -> list[Difference]:
        return pipeline_parts.compare(part, self.place, ours)

    def compare_index(self, ours: Path) -> Iterable[Difference]:
        return pipeline_parts.compare_index(self.place, ours)

    def checksum(self, part: str) -> str:
        return part_files.part_checksum(self.place, part)

    def load(self, part: str, ours: Path) -> Any:
        if part == "scheduler":
            return part_files.read_schedule(self.place)
        loaders = {
            "text_encoder": part_files.load_text_encoder,
            "tokenizer": part_files.load_tokenizer,
            "vae": part_files.load_vae,
        }
        return loaders[part](self.place / part)
