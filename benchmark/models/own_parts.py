"""Loads the parts of a checkpoint that differ from the testbed's, and checks that they can be used.

A model is sampled with its own text encoder, tokenizer, VAE and noise schedule where these differ from the testbed's.
The solver, the number of steps and the guidance are always those of the testbed.

    text encoder    a CLIPTextModel with hidden states as wide as the U-Net's cross-attention
    tokenizer       a CLIPTokenizer with ids that the text encoder embeds, and as many tokens as it has positions
    VAE             an AutoencoderKL with the testbed's latent channels and downscaling factor
    noise schedule  betas, prediction type and spacing of timesteps that the testbed's solver can sample
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from benchmark.api.model import Components
from benchmark.errors import DataError, UsageError
from benchmark.json_types import Counted, Identity, NetworkConfig
from benchmark.models import part_files, pipeline_parts
from benchmark.models.chosen_parts import ALL, PARTS, in_words
from benchmark.models.embeddings import Embedding, add_embeddings
from benchmark.models.part_fit import check_scheduler, check_text, check_vae, decoder, encoder
from benchmark.models.part_source import FolderParts, PartSource

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.testbed import Testbed


@dataclass(frozen=True)
class OwnParts:
    """The parts that a model is sampled with instead of the testbed's; None stands for the testbed's part."""

    chosen: tuple[str, ...] = ALL
    """The parts of the checkpoint that `--parts` allows to be used."""
    text_encoder: Any = None
    tokenizer: Any = None
    vae: Any = None
    scheduler: NetworkConfig | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    """sha256 of the used parts that differ from the testbed's, by part."""
    used: tuple[str, ...] = ()
    """What differs in the used parts, such as "vae (scaling_factor 1, not 0.18215)"."""
    unused: tuple[str, ...] = ()
    """What differs in the parts that were not chosen, and so are not used."""

    embeddings: Mapping[str, str] = field(default_factory=dict)
    """Words that `--embedding` adds to the tokenizer and the text encoder -> sha256."""

    @property
    def details(self) -> list[str]:
        """Words for the label of the row: which parts were chosen, or else which differ from the testbed's; and the
        words of embeddings."""
        own = [f"own {in_words(list(self.checksums))}"] if self.checksums else []
        narrowed = [f"{in_words(self.chosen)} alone"]
        return [
            *(own if self.chosen == ALL else narrowed),
            *([f"with {', '.join(self.embeddings)}"] if self.embeddings else []),
        ]

    @property
    def identity(self) -> Identity:
        """The entry for the model's identity; empty if all used parts equal the testbed's."""
        embedded = {"embeddings": dict(self.embeddings)} if self.embeddings else {}
        return ({"parts": dict(self.checksums)} if self.checksums else {}) | embedded

    @property
    def counted(self) -> Counted:
        """The entries for the record."""
        narrowed = {} if self.chosen == ALL else {"parts": ",".join(self.chosen), "not used": list(self.unused)}
        own = {"own parts": dict(self.checksums), "differences": list(self.used)} if self.checksums else {}
        return narrowed | own | ({"embeddings": dict(self.embeddings)} if self.embeddings else {})

    def components(self, unet: UNet2DConditionModel, testbed: Testbed) -> Components:
        """Return the components to sample with; every part that is None is the testbed's."""
        own_text = self.text_encoder is not None or self.tokenizer is not None
        return Components(
            unet,
            encoder(testbed, self.text_encoder, self.tokenizer) if own_text else testbed.encode,
            testbed.decode if self.vae is None else decoder(testbed, self.vae),
            testbed.scheduler if self.scheduler is None else self.scheduler,
        )


def own_parts(source: PartSource, testbed: Testbed, width: int, chosen: Sequence[str] = ALL) -> OwnParts:
    """Load the chosen parts of a checkpoint that differ from the testbed's.

    Args:
        source: the checkpoint's parts.
        testbed: the testbed that samples.
        width: the U-Net's cross_attention_dim.
        chosen: the parts that are used; differences in all other parts are only listed.

    Raises:
        DataError: if a chosen part cannot be read or used, or, with all parts, if the pipeline samples differently.
        UsageError: if the testbed cannot use a different part.
    """
    ours = testbed.pipeline
    has_parts = any(source.has(part) for part in pipeline_parts.COMPARED)
    if has_parts and not ours.is_dir() and tuple(chosen) != ("unet",):
        raise UsageError(
            f"Testbed '{testbed.name}' has no pipeline folder to compare the parts of {source.place} with: score only "
            "its U-Net with --parts unet."
        )
    unused: list[str] = []
    for difference in source.compare_index(ours):
        of_text = difference.part == pipeline_parts.TEXT_CLASS_DIFFERS
        if tuple(chosen) == ALL or (of_text and "text_encoder" in chosen):
            _refuse(source.place, str(difference))
        unused.append(str(difference))
    used: dict[str, str] = {}
    for part in pipeline_parts.COMPARED:
        if part in chosen:
            _check_exists(source, part, tuple(chosen) == ALL)
            for difference in source.compare(part, ours):
                if not difference.usable:
                    _refuse(source.place, str(difference))
                used[part] = str(difference)
        else:
            unused += _list_differences(part, source, ours)
    own = OwnParts(tuple(chosen), used=tuple(used.values()), unused=tuple(unused))
    own = replace(own, checksums={part: source.checksum(part) for part in PARTS if part in used})
    return _load(own, source, testbed, width)


def _load(own: OwnParts, source: PartSource, testbed: Testbed, width: int) -> OwnParts:
    where = f"of the checkpoint {source.place}"
    if own.checksums.keys() & {"text_encoder", "tokenizer"}:
        text_encoder, tokenizer = load_text(testbed, source, own.checksums)
        check_text(testbed, text_encoder, tokenizer, width, where)
        own = replace(own, text_encoder=text_encoder, tokenizer=tokenizer)
    if "vae" in own.checksums:
        vae = source.load("vae", testbed.pipeline)
        check_vae(testbed, vae, where)
        own = replace(own, vae=vae)
    if "scheduler" in own.checksums:
        schedule, default = source.load("scheduler", testbed.pipeline), part_files.read_schedule(testbed.pipeline)
        changed = part_files.different_fields(schedule, default)
        scheduler = {**testbed.scheduler, **{name: schedule[name] for name in changed}}
        check_scheduler(scheduler, testbed.sampler, where)
        own = replace(own, scheduler=scheduler)
    return own


def with_embeddings(own: OwnParts, embeddings: Sequence[Embedding], testbed: Testbed, width: int) -> OwnParts:
    """Return the parts with these embeddings in the tokenizer and the text encoder, which are new copies if `own` has
    none.

    Args:
        own: the parts that the model is sampled with.
        embeddings: words and vectors to add; if empty, `own` is returned.
        testbed: the testbed that samples.
        width: the U-Net's cross_attention_dim.

    Raises:
        DataError: if an embedding does not fit the text encoder, or its word exists already.
        UsageError: if the testbed cannot use a different text encoder.
    """
    if not embeddings:
        return own
    text_encoder, tokenizer = own.text_encoder, own.tokenizer
    if text_encoder is None:
        if not (testbed.pipeline / "text_encoder").is_dir():
            raise UsageError(f"Testbed '{testbed.name}' has no text encoder in a folder: leave --embedding out.")
        text_encoder, tokenizer = load_text(testbed, FolderParts(testbed.pipeline), {})
    add_embeddings(embeddings, text_encoder, tokenizer)
    check_text(testbed, text_encoder, tokenizer, width, f"with {', '.join(embedding.word for embedding in embeddings)}")
    checksums = {embedding.word: embedding.checksum for embedding in embeddings}
    return replace(own, text_encoder=text_encoder, tokenizer=tokenizer, embeddings=checksums)


def load_text(testbed: Testbed, source: PartSource, own: Mapping[str, Any]) -> tuple[Any, Any]:
    """Load a text encoder and a tokenizer, each from the checkpoint (`source`) if `own` names it, else from the
    testbed's.

    Raises:
        DataError: if one of them cannot be read, or is of a different class than CLIPTextModel and CLIPTokenizer.
    """
    testbeds = FolderParts(testbed.pipeline)
    text_encoder, tokenizer = (
        (source if part in own else testbeds).load(part, testbed.pipeline) for part in ("text_encoder", "tokenizer")
    )
    return text_encoder, tokenizer


def _check_exists(source: PartSource, part: str, optional: bool) -> None:
    """Raise DataError if a part that `--parts` names does not exist."""
    if not source.has(part) and not optional:
        raise DataError(f"The checkpoint {source.place} has no {PARTS[part]} ({part}): leave {part} out of --parts.")


def _list_differences(part: str, source: PartSource, ours: Path) -> list[str]:
    """Describe what differs in a part that is not used, even if it cannot be read."""
    try:
        return [str(difference) for difference in source.compare(part, ours)]
    except DataError as error:
        return [str(error)]


def _refuse(place: Path, what: str) -> NoReturn:
    raise DataError(
        f"The checkpoint {place} has a part that the testbed's sampling cannot use: {what}; choose the testbed of "
        "its base model, or score only its U-Net with --parts unet."
    )
