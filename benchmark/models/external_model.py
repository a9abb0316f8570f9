"""An external checkpoint as a model that can be scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark import hub
from benchmark.api.model import Components, Model, TrainingFacts
from benchmark.errors import DataError, UsageError
from benchmark.json_types import Counted, JsonObject
from benchmark.models import external_checkpoint
from benchmark.models.chosen_parts import ALL, in_words
from benchmark.models.own_parts import OwnParts, own_parts, with_embeddings
from benchmark.models.part_sources import part_source
from benchmark.records.record import BROUGHT

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.testbed import Testbed, Workbench
    from benchmark.models.embeddings import Embedding
    from methods.quantization import Weights


class ExternalCheckpoint(Model):
    """An external checkpoint, identified by its checksum and those of its parts that differ from the testbed's.

    Args:
        bench: testbed and device.
        checkpoint: result of `external_checkpoint.locate`.
        name: the name of its row.
        parts: the parts of the checkpoint that are used (see `chosen_parts`); all others are the testbed's.
        weights: "full", or the number format to which the U-Net's weights are rounded, "int8" or "int4".
        embeddings: new words for the text encoder that the model is sampled with.

    Raises:
        DataError: if an embedding, the U-Net or another chosen part does not fit the testbed.
        UsageError: if the testbed cannot use a different part, or no chosen part is different from the testbed's.
    """

    def __init__(
        self,
        bench: Workbench,
        checkpoint: external_checkpoint.Checkpoint,
        name: str,
        parts: Sequence[str] = ALL,
        weights: Weights = "full",
        embeddings: Sequence[Embedding] = (),
    ) -> None:
        from methods.quantization import round_weights
        from methods.sampling import inputs

        testbed = bench.testbed
        base = testbed.base()
        width = int(inputs(base.config)["cross_attention_dim"])
        own = _find_own(checkpoint, testbed, width, parts)
        if "unet" not in parts and not own.checksums and not embeddings:
            raise UsageError(
                f"The {in_words(parts)} of {checkpoint.pipeline or checkpoint.place} equals the testbed's, and --parts "
                "leaves the U-Net out: nothing would be scored but the base."
            )
        if "unet" not in parts and checkpoint.architecture is not None:
            raise UsageError(
                "--architecture prunes the checkpoint's U-Net, and --parts leaves it out: add unet to --parts."
            )
        self._own = with_embeddings(own, embeddings, testbed, width)
        base_macs = self._count_macs(base, testbed)
        unet = base
        if "unet" in parts:
            schedule = self._own.scheduler or testbed.scheduler
            unet = external_checkpoint.load(checkpoint, base, schedule, bool(own.checksums))
        try:
            macs = self._count_macs(unet, testbed)
        except (TypeError, ValueError, RuntimeError, AttributeError) as error:  # a modified U-Net can fail in many ways
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"The checkpoint {checkpoint.place} cannot be called as the testbed's U-Net is ({first}): choose the "
                "testbed of its base model."
            ) from error
        share, checksum = macs / base_macs, checkpoint.sha256()
        rounded = {} if weights == "full" else {"weights": weights}
        changed = {**checkpoint.scaling(), **rounded}
        self._counted: Counted = {
            "share": share, "counter": "torch flop_counter", "latent_size": testbed.sampler.latent_size,
            "text_length": testbed.text_length, "checkpoint": checksum, "form": checkpoint.form,
            **self._own.counted, **({"hub": source} if (source := hub.origin(checkpoint.place)) else {}),
            **checkpoint.facts(), **rounded,
        }  # fmt: skip
        round_weights(unet, weights)
        details = ", ".join([*self._own.details, *checkpoint.details(), *rounded.values()])
        super().__init__(
            f"{name} ({details})" if details else name,
            {
                **testbed.identity(),
                "model": BROUGHT,
                **({"checkpoint": checksum} if "unet" in parts else {}),
                **self._own.identity,
                **changed,
            },
            TrainingFacts(
                name,
                variant=",".join(f"{key}={value}" for key, value in changed.items()) or "default",
                data=BROUGHT,
                pruning=BROUGHT,
                macs=min(1.0, round(share, 4)),
            ),
        )
        self._unet, self._device = unet, bench.device
        self._config: JsonObject = {
            "form": checkpoint.form, "parts": list(parts), "weights": weights, "lora_scale": checkpoint.lora_scale,
            "embeddings": [str(embedding.file) for embedding in embeddings],
        }  # fmt: skip

    @property
    def own_checksums(self) -> Mapping[str, str]:
        """sha256 of the used parts that differ from the testbed's, by part, and of embeddings, by word; without the
        U-Net."""
        return {**self._own.checksums, **self._own.embeddings}

    def load(self) -> UNet2DConditionModel:
        return self._unet.to(self._device)  # type: ignore[arg-type]

    def config(self) -> JsonObject:
        return self._config

    def components(self, testbed: Testbed) -> Components:
        return self._own.components(self.load(), testbed)

    def counted(self) -> Counted:
        return self._counted

    @staticmethod
    def _count_macs(unet: UNet2DConditionModel, testbed: Testbed) -> int:
        from methods.pruning.macs import count_macs

        return count_macs(unet, testbed.sampler.latent_size, testbed.text_length)


def _list_unused(checkpoint: external_checkpoint.Checkpoint, parts: Sequence[str]) -> list[str]:
    """List LoRA files beside a checkpoint's U-Net, and parts of a file of weights, that cannot be used.

    Raises:
        DataError: if there are any, and `parts` are all parts.
    """
    from benchmark.models.checkpoint_forms.other_parts import list_unused
    from benchmark.models.pipeline_parts import loras

    if checkpoint.file is not None:
        return list_unused(checkpoint.place, checkpoint.file, tuple(parts) == ALL)
    lora_files = [name for folder in {checkpoint.place, checkpoint.pipeline} if folder for name in loras(folder)]
    if lora_files and tuple(parts) == ALL:
        raise DataError(
            f"The checkpoint {checkpoint.pipeline or checkpoint.place} contains a LoRA ({lora_files[0]}), which would "
            "not be used: merge it (load_lora_weights, fuse_lora) and save the U-Net, or score the U-Net without it "
            "with --parts unet."
        )
    return lora_files


def _find_own(
    checkpoint: external_checkpoint.Checkpoint, testbed: Testbed, width: int, parts: Sequence[str]
) -> OwnParts:
    """Load the checkpoint's own parts; `width` is the U-Net's cross_attention_dim."""
    unused, source = _list_unused(checkpoint, parts), part_source(checkpoint)
    if source is not None:
        own = own_parts(source, testbed, width, parts)
    elif tuple(parts) in (ALL, ("unet",)):
        own = OwnParts(tuple(parts))
    else:
        raise UsageError(
            f"The checkpoint {checkpoint.place} is a U-Net and has no other parts: leave --parts out, or give the "
            "folder of its pipeline."
        )
    return replace(own, unused=(*unused, *own.unused))
