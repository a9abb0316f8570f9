"""What a testbed gives to the rest of the house, which never asks which testbed it stands on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from methods.base import Precision

if TYPE_CHECKING:
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

    from benchmark.console import Progress
    from benchmark.store.artefacts import Store
    from methods.base import Materials
    from methods.budget import Entry
    from methods.pruning.pictures import Pictures
    from methods.sampling import Sampler
    from methods.training.adaptive_batch import AdaptiveBatch
    from metrics.encoders import Encoder, OpenClipEncoder
    from prompts.concepts import Concept, Kind
    from prompts.lists import Prompt


TEXT_TOWER = "text tower"
"""A testbed's `sentences` where prompts are read by the pipeline's own encoder, not by sentence-transformers."""


SHARD_SIZE = 32
"""Prompts whose pictures are sampled, kept and resumed together."""


class Testbed(Protocol):
    """Base pipeline, captioned pictures, prompts and the networks that score."""

    name: str
    pipeline: Path
    """The base as an ordinary diffusers folder."""
    sampler: Sampler
    scheduler: dict[str, Any]
    text_length: int
    default_flops: float
    """The default budget: U-Net FLOPs of all training passes of one method."""
    shipped: Sequence[Path]
    """Folders of artefacts that came with the code."""
    half: bool
    """Whether fitted weights are kept in half precision (and evaluated as such)."""

    sentences: str
    """Who reads prompts for the router of `aptp`: "text tower" for the pipeline's own, else a model of
    sentence-transformers."""

    networks: Mapping[str, str]
    """Networks that score, job -> back end: "clip", "style", "features" and, in a world that is known, "oracle"."""
    styles: Sequence[str]
    """Classes of the oracle, the plain style first; empty without an oracle."""
    contents: Sequence[str]
    """Classes of the oracle, the last for none of the others. It gives both sets of probabilities side by side."""

    # A testbed may say in which `precision` it is trained and sampled unless it is asked otherwise ("fp32" if not), and
    # have five more: `preset`, the methods' settings unless they are asked otherwise ("default" if not);
    # `contrast(concept)`, what `Materials.contrast` will hold, so that a budget which is too small to look at it is
    # refused before any work; `public`, suite -> names of the public lists (prompts/sources.py) that it asks, best
    # first; `titles`, suite -> names of those that, if added, replace its own prompts of the targets in them; and, with
    # either of these two, `pixels`, the side in pixels that one place of a latent stands for.

    @property
    def clip(self) -> OpenClipEncoder:
        """Also reads texts."""
        ...

    def encoder(self, job: str) -> Encoder:
        """The network of this job, loaded when first asked for."""
        ...

    def identity(self) -> dict[str, Any]:
        """Name and fingerprint of everything that shapes results."""
        ...

    def concept(self, targets: tuple[str, ...], kind: Kind = "style") -> Concept:
        """The concept of erasing these artists (the default ones if empty); UsageError for one that is not known.

        Of kind "explicit" it is the testbed's own, and `targets` must be empty.
        """
        ...

    def prompts(self, suite: str, concept: Concept) -> Sequence[Prompt]:
        """The suite's prompts for this concept, in the order of their shards."""
        ...

    def base(self) -> UNet2DConditionModel:
        """A fresh copy of the base U-Net, fp32, eval mode."""
        ...

    @property
    def encode(self) -> Callable[[Sequence[str]], Tensor]:
        """Texts -> hidden states (N, L, D)."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (N, 4, h, w) -> pictures uint8 (N, 3, H, W)."""
        ...

    def materials(self, bench: Workbench, concept: Concept, which: str) -> Materials:
        """What methods train on, D_f being `plain` or `all-but-targets`; made once and kept in the bench's store."""
        ...

    def pictures(self, bench: Workbench) -> Pictures:
        """Captioned pictures of all kinds that the base knows, for prunings that look at some; no suite asks for them.
        Made once and kept in the bench's store."""
        ...

    def erase_cost(self, concept: Concept) -> Entry:
        """What making the concept images of `materials` takes from a method's budget."""
        ...

    def real(self, store: Store) -> Tensor:
        """Features (N, d) of held-out real pictures, which FID and KID compare with."""
        ...

    def real_style(self, artist: str, store: Store) -> Tensor | None:
        """Style features (N, d) of real pictures by this artist; None where the testbed has no such pictures."""
        ...


@runtime_checkable
class PictureFiles(Protocol):
    """A testbed whose pictures are files, which their owner may replace under the same names."""

    def picture_checksum(self, store: Store, side: Literal["train", "val"], progress: Progress | None = None) -> str:
        """One checksum of the contents of all pictures on one side. Those that are new, or changed in size or time,
        are read whole. DataError, naming the first, for pictures that cannot be read."""
        ...


def _together() -> AdaptiveBatch:
    from methods.training.adaptive_batch import AdaptiveBatch

    return AdaptiveBatch("sampling", SHARD_SIZE)


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
    limit: int | None = None
    """Number of prompts of each group that are scored; None for all."""
    together: AdaptiveBatch = field(default_factory=_together)
    """How many pictures are sampled at once: a shard, or what memory holds."""

    @property
    def limited(self) -> dict[str, int]:
        """What records say of prompts that are left out; nothing where all are scored."""
        return {} if self.limit is None else {"limit": self.limit}

    @property
    def stated(self) -> dict[str, str]:
        """What identities and records say of the precision: nothing of fp32, which all have that say nothing."""
        return {} if self.precision == "fp32" else {"precision": self.precision}

    @property
    def trained_on(self) -> dict[str, str]:
        """What identities of all that is trained, or chosen by pictures, say beyond the testbed's own identity: the
        checksum of its train pictures; nothing of pictures that a testbed draws by rule."""
        if not isinstance(self.testbed, PictureFiles):
            return {}
        return {"pictures": self.testbed.picture_checksum(self.store, "train", self.progress)}
