"""What a testbed gives to the rest of the house, which never asks which testbed it stands on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from benchmark.errors import UsageError
from benchmark.json_types import Identity, NetworkConfig
from methods.base import Precision
from prompts.concepts import DEFAULT_KIND

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
    from prompts.artists import Artist
    from prompts.concepts import Concept, Kind
    from prompts.lists import Prompt


TEXT_TOWER = "text tower"
"""A testbed's `sentences` where prompts are read by the pipeline's own encoder, not by sentence-transformers."""


SHARD_SIZE = 32
"""Prompts whose pictures are sampled, kept and resumed together."""


class Testbed:
    """Base pipeline, captioned pictures, prompts and the networks that score.

    A subclass declares what has no default here, and is made with the name of a device: `MyTestbed(device="cpu")`.
    """

    name: str
    """As records and tables call it."""
    summary: str = ""
    """One line for `bench list testbeds`."""
    artists: Sequence[Artist] = ()
    """The artists that it knows, for `bench list artists` and `--targets`; empty for those in `ARTISTS` of the
    `artists.py` beside its class, or beside the nearest parent that has one."""
    pipeline: Path
    """The base as an ordinary diffusers folder."""
    sampler: Sampler
    scheduler: NetworkConfig
    """The scheduler's config: num_train_timesteps, betas, prediction_type."""
    text_length: int
    """Tokens of a text, with padding."""
    default_flops: float
    """The default budget: U-Net FLOPs of all training passes of one method."""
    networks: Mapping[str, str]
    """Networks that score, job -> back end: "clip", "style", "features" and, in a world that is known, "oracle"."""
    shipped: Sequence[Path] = ()
    """Folders of artefacts that came with the code."""
    half: bool = False
    """Whether fitted weights are kept in half precision (and evaluated as such)."""
    precision: Precision = "fp32"
    """What models are trained and sampled in unless a run says otherwise."""
    preset: str = "default"
    """The methods' preset unless a run names another; methods without it take "default"."""
    sentences: str = "sentence-transformers/all-mpnet-base-v2"
    """The prompt encoder of the router of `aptp`: "text tower" for the pipeline's own, else a model of
    sentence-transformers; by default that of APTP."""
    experts: Path | None = None
    """A file of published experts of `aptp`, which replaces the search."""
    styles: Sequence[str] = ()
    """Classes of the oracle, the plain style first; empty without an oracle."""
    contents: Sequence[str] = ()
    """Classes of the oracle, the last for none of the others. It gives both sets of probabilities side by side."""
    public: Mapping[str, Sequence[str]] = {}
    """Suite -> names of the public lists (prompts/sources.py) whose prompts it takes, best first."""
    titles: Mapping[str, Sequence[str]] = {}
    """Suite -> names of lists that, once added, replace the testbed's prompts of the targets in them, best first."""
    license: str = "other"
    """Licence of the base model, as the front matter of a model card names it."""
    pixels: int = 8
    """Side in pixels of what one place of a latent stands for."""

    @property
    def clip(self) -> OpenClipEncoder:
        """The encoder of job "clip", which also reads texts."""
        raise NotImplementedError

    @property
    def encode(self) -> Callable[[Sequence[str]], Tensor]:
        """Texts -> hidden states (N, L, D)."""
        raise NotImplementedError

    def encoder(self, job: str) -> Encoder:
        """The network of this job, loaded at its first use."""
        raise NotImplementedError

    def identity(self) -> Identity:
        """Name and fingerprint of everything that shapes results."""
        raise NotImplementedError

    def concept(self, targets: tuple[str, ...], kind: Kind = DEFAULT_KIND) -> Concept:
        """The concept of erasing these artists (the default ones if empty); UsageError for an unknown artist.

        Of kind "explicit" it is the testbed's own, and `targets` must be empty.
        """
        raise NotImplementedError

    def prompts(self, suite: str, concept: Concept) -> Sequence[Prompt]:
        """The suite's prompts for this concept, in the order of their shards."""
        raise NotImplementedError

    def contrast(self, concept: Concept) -> Mapping[str, Sequence[tuple[str, str]]]:
        """The pairs of `Materials.contrast`; empty without any. Their number is known before any work."""
        return {}

    def base(self) -> UNet2DConditionModel:
        """A fresh copy of the base U-Net, fp32, eval mode."""
        raise NotImplementedError

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (N, 4, h, w) -> pictures uint8 (N, 3, H, W)."""
        raise NotImplementedError

    def assembled(self) -> Any:
        """The base as a diffusers pipeline."""
        from diffusers import StableDiffusionPipeline

        return StableDiffusionPipeline.from_pretrained(self.pipeline, local_files_only=True)

    def materials(self, bench: Workbench, concept: Concept, which: str, concept_images: bool = True) -> Materials:
        """What methods train on, D_f being `plain` or `all-but-targets`; made once and kept in the bench's store.

        Without `concept_images`, `erase` and `erase_named` are empty, and no picture is sampled for them.
        """
        raise NotImplementedError

    def pictures(self, bench: Workbench) -> Pictures:
        """Captioned pictures of all kinds that the base knows, for prunings that need some; no suite uses them.

        They are made once and kept in the bench's store. UsageError for a testbed without such pictures.
        """
        raise UsageError(
            f"Testbed '{self.name}' has no captioned pictures to prune by: choose a pruning that needs none, such as "
            "magnitude."
        )

    def erase_cost(self, concept: Concept) -> Entry:
        """What making the concept images of `materials` takes from a method's budget."""
        raise NotImplementedError

    def real(self, store: Store) -> Tensor:
        """Features (N, d) of held-out real pictures, which FID and KID compare with."""
        raise NotImplementedError

    def real_style(self, artist: str, store: Store) -> Tensor | None:
        """Style features (N, d) of real pictures by this artist; None where the testbed has no such pictures."""
        return None


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
