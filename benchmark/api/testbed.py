"""The base class of testbeds, and the workbench that a run uses. No other code depends on a specific testbed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from benchmark.errors import UsageError
from benchmark.json_types import Identity, NetworkConfig
from benchmark.tracking.tracker import Tracker
from methods.base import Precision
from prompts.concepts import DEFAULT_KIND
from prompts.figures import FIGURE_PROMPTS

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
"""Value of `Testbed.sentences` if the pipeline's text encoder encodes prompts, not a model of
sentence-transformers."""


SHARD_SIZE = 32
"""Number of prompts whose pictures are sampled and stored together; a stopped run resumes after a complete shard."""


class Testbed:
    """A base pipeline with captioned pictures, prompts, and the networks that score pictures.

    A subclass must declare everything that has no default here. It is created with the name of a device:
    `MyTestbed(device="cpu")`.
    """

    name: str
    """Its name in records and tables."""
    summary: str = ""
    """One line for `bench list testbeds`."""
    artists: Sequence[Artist] = ()
    """The artists that it supports, for `bench list artists` and `--targets`. If empty, they are `ARTISTS` of the
    `artists.py` in the folder of its class, or of the nearest parent class that has one."""
    pipeline: Path = Path("none")
    """Folder of the base pipeline, in the format of diffusers. A testbed without such a folder leaves it out; `bench
    eval` then takes pipelines only with `--parts unet`."""
    sampler: Sampler
    scheduler: NetworkConfig
    """The scheduler's config: num_train_timesteps, betas, prediction_type."""
    text_length: int
    """Number of tokens of an encoded text, with padding."""
    default_flops: float
    """The default budget: U-Net FLOPs of the whole training of one method."""
    networks: Mapping[str, str]
    """Networks that score, job -> back end: "clip", "style", "features" and, if all styles are known, "oracle"."""
    shipped: Sequence[Path] = ()
    """Folders of artefacts that are distributed with the code."""
    half: bool = False
    """Whether trained weights are stored, and therefore also evaluated, in half precision."""
    precision: Precision = "fp32"
    """Precision of training and sampling, unless a run sets a different one."""
    preset: str = "default"
    """Preset of methods, unless a run sets a different one; methods without it use "default"."""
    sentences: str = "sentence-transformers/all-mpnet-base-v2"
    """The prompt encoder of the router of `aptp`: "text tower" for the pipeline's text encoder, else a model
    of sentence-transformers. The default is the model that APTP uses."""
    experts: Path | None = None
    """A file of published experts of `aptp`, which replaces the search."""
    styles: Sequence[str] = ()
    """Style classes of the oracle, the plain style first; empty without an oracle."""
    contents: Sequence[str] = ()
    """Content classes of the oracle; the last means none of the others. The oracle returns the probabilities of styles
    and of contents side by side."""
    public: Mapping[str, Sequence[str]] = {}
    """Suite -> names of the public lists (prompts/sources.py) that it takes prompts from, in order of preference."""
    titles: Mapping[str, Sequence[str]] = {}
    """Suite -> names of lists, in order of preference. If the user has added a list, it replaces the testbed's prompts
    for the targets that it contains."""
    takes_concepts: bool = False
    """Whether methods can forget a concept that a suite brings (`Suite.concept`). If so, `materials`, `contrast` and
    `erase_cost` have captions for every concept; benchmark/testbeds/concept_captions.py creates some, and leaves the
    targets out of D_f."""
    license: str = "other"
    """Licence of the base model, by its identifier in the front matter of model cards."""
    figure_prompts: Mapping[str, Sequence[str]] = FIGURE_PROMPTS
    """Qualitative figure of the paper -> its prompts on this testbed, for `bench grid --prompts figure-1`. The default
    are the paper's own prompts."""
    pixels: int = 8
    """Height and width in pixels of the area that one latent position represents."""

    @property
    def clip(self) -> OpenClipEncoder:
        """The encoder for the job "clip", which also encodes texts."""
        raise NotImplementedError

    @property
    def encode(self) -> Callable[[Sequence[str]], Tensor]:
        """A function from texts to hidden states (N, L, D)."""
        raise NotImplementedError

    def encoder(self, job: str) -> Encoder:
        """Return the network for this job, which is loaded at its first use."""
        raise NotImplementedError

    def identity(self) -> Identity:
        """Return the name, and a checksum or version of everything that affects results."""
        raise NotImplementedError

    def concept(self, targets: tuple[str, ...], kind: Kind = DEFAULT_KIND) -> Concept:
        """Return the concept with these artists as targets, or with the default targets if empty.

        The concept of kind "explicit" is fixed by the testbed, and `targets` must then be empty.

        Raises:
            UsageError: an artist is unknown.
        """
        raise NotImplementedError

    def prompts(self, suite: str, concept: Concept) -> Sequence[Prompt]:
        """Return the suite's prompts for this concept, in the order of their shards."""
        raise NotImplementedError

    def contrast(self, concept: Concept) -> Mapping[str, Sequence[tuple[str, str]]]:
        """Return the pairs for `Materials.contrast`; empty if there are none. They are needed before any training."""
        return {}

    def base(self) -> UNet2DConditionModel:
        """Return a new copy of the base U-Net in fp32 and evaluation mode."""
        raise NotImplementedError

    def decode(self, latents: Tensor) -> Tensor:
        """Decode scaled latents (N, 4, h, w) to pictures uint8 (N, 3, H, W)."""
        raise NotImplementedError

    def encoder_of(self, text_encoder: Any, tokenizer: Any) -> Callable[[Sequence[str]], Tensor]:
        """Return the function that encodes texts as `encode` does, but with a different text encoder and tokenizer.

        `bench eval` calls it for a checkpoint with its own text encoder or tokenizer. With the testbed's own ones, the
        result must equal `encode`: a testbed that overrides `encode` must override `encoder_of` too.

        Args:
            text_encoder: a CLIPTextModel of transformers in fp32 and evaluation mode; it may be moved to the testbed's
                device.
            tokenizer: a CLIPTokenizer of transformers.

        Returns:
            A function from texts to hidden states (N, L, D).

        Raises:
            UsageError: the testbed cannot use a different text encoder.
        """
        raise UsageError(_only_own(self.name, "text encoder and tokenizer", "encoder_of"))

    def decoder_of(self, vae: Any) -> Callable[[Tensor], Tensor]:
        """Return the function that decodes latents as `decode` does, but with a different VAE.

        `bench eval` calls it for a checkpoint with its own VAE. With the testbed's own VAE, the result must equal
        `decode`: a testbed that overrides `decode` must override `decoder_of` too.

        Args:
            vae: an AutoencoderKL of diffusers in fp32 and evaluation mode; it may be moved to the testbed's device.

        Returns:
            A function from latents (N, C, h, w), which are multiplied by the scaling factor of `vae`, to pictures
            uint8 (N, 3, H, W).

        Raises:
            UsageError: the testbed cannot use a different VAE.
        """
        raise UsageError(_only_own(self.name, "VAE", "decoder_of"))

    def assembled(self) -> Any:
        """Return the base as a diffusers pipeline."""
        from diffusers import StableDiffusionPipeline

        from metrics.networks.untrusted import check_pipeline

        check_pipeline(self.pipeline)
        return StableDiffusionPipeline.from_pretrained(self.pipeline, local_files_only=True)

    def materials(self, bench: Workbench, concept: Concept, which: str, concept_images: bool = True) -> Materials:
        """Return the training data of methods. It is created once and then stored in the bench's store.

        Args:
            bench: store, progress and precision.
            concept: the concept to erase.
            which: fine-tuning data D_f: "plain" or "all-but-targets".
            concept_images: if False, `erase` and `erase_named` are empty, and no pictures are sampled for them.
        """
        raise NotImplementedError

    def pictures(self, bench: Workbench) -> Pictures:
        """Return captioned pictures of all kinds that the base generates, for prunings that need pictures.

        No suite uses them. They are created once and then stored in the bench's store.

        Raises:
            UsageError: the testbed has no such pictures.
        """
        raise UsageError(
            f"Testbed '{self.name}' has no captioned pictures to prune by: choose a pruning that needs none, such as "
            "magnitude."
        )

    def erase_cost(self, concept: Concept) -> Entry:
        """Return the cost of the concept images of `materials`, which is charged to a method's budget."""
        raise NotImplementedError

    def real(self, store: Store) -> Tensor:
        """Return features (N, d) of held-out real pictures, the reference of FID and KID."""
        raise NotImplementedError

    def real_style(self, artist: str, store: Store) -> Tensor | None:
        """Return style features (N, d) of real pictures by this artist; None if the testbed has no such pictures."""
        return None


def _only_own(testbed: str, part: str, method: str) -> str:
    return (
        f"Testbed '{testbed}' samples only with its own {part}: score the checkpoint's U-Net alone with --parts unet, "
        f"or implement `{method}` in the testbed's class."
    )


@runtime_checkable
class PictureFiles(Protocol):
    """A testbed whose pictures are files, which the user may replace by different ones with the same names."""

    def picture_checksum(self, store: Store, side: Literal["train", "val"], progress: Progress | None = None) -> str:
        """Return one checksum of the contents of all train or validation pictures.

        It only reads files that are new, or whose size or modification time has changed.

        Raises:
            DataError: pictures cannot be read; the message names the first.
        """
        ...


def _shard_batch() -> AdaptiveBatch:
    from methods.training.adaptive_batch import AdaptiveBatch

    return AdaptiveBatch("sampling", SHARD_SIZE)


@dataclass(frozen=True)
class Workbench:
    """What a run works with: testbed, store, progress display, device, and options of training and sampling."""

    testbed: Testbed
    store: Store
    progress: Progress
    device: torch.device
    as_published: bool = False
    """Whether every row of public lists is used, with the guidance and size given in it."""
    precision: Precision = "fp32"
    """Precision of training and sampling."""
    compiles: bool = False
    """Whether models that sample are compiled."""
    limit: int | None = None
    """Number of prompts of each group that are scored; None for all."""
    workers: int = 0
    """Processes that read training pictures ahead; 0 for none."""
    together: AdaptiveBatch = field(default_factory=_shard_batch)
    """Samples as many pictures at once as fit in memory, at most one shard."""
    tracker: Tracker = field(default_factory=Tracker)
    """Receives the losses of trainings; by default it discards them."""

    @property
    def limited(self) -> dict[str, int]:
        """The entry for records if prompts are left out; empty if all are scored."""
        return {} if self.limit is None else {"limit": self.limit}

    @property
    def precision_entry(self) -> dict[str, str]:
        """The entry for identities and records if the precision is not fp32; without an entry, it is fp32."""
        return {} if self.precision == "fp32" else {"precision": self.precision}

    @property
    def stated(self) -> dict[str, str]:
        """The former name of `precision_entry`. Raises UsageError, so that older plug-ins get the new name."""
        raise UsageError("Workbench.stated is now Workbench.precision_entry: use the new name in the plug-in.")

    @property
    def trained_on(self) -> dict[str, str]:
        """The checksum of the train pictures, for identities of everything that is trained on, or pruned by, pictures.

        It is empty if the testbed generates its pictures by a program: the testbed's identity then determines them.
        """
        if not isinstance(self.testbed, PictureFiles):
            return {}
        return {"pictures": self.testbed.picture_checksum(self.store, "train", self.progress)}
