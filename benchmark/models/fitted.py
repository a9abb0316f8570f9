"""The kinds of models that can be scored: the base, a model trained from a plan, and an external checkpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from benchmark import hub, registry
from benchmark.api.model import Components, Model, TrainingFacts
from benchmark.errors import DataError, RecordError, UsageError
from benchmark.json_types import Counted, CurveRow, JsonObject
from benchmark.models import external_checkpoint
from benchmark.models.chosen_parts import ALL, PARTS, in_words
from benchmark.models.own_parts import OwnParts, own_parts, with_embeddings
from benchmark.models.plan import Plan, chooses_names, config_of, identity, plugins_of, unseeded
from benchmark.records.record import BROUGHT, SUFFIX, read_record
from benchmark.store.listing import visible

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.testbed import Testbed, Workbench
    from benchmark.models.embeddings import Embedding
    from benchmark.records.record import Plugin
    from benchmark.store.artefacts import Artefact
    from methods.budget import LedgerRow
    from methods.quantization import Weights


class Base(Model):
    """The testbed's base model, without pruning or training."""

    def __init__(self, bench: Workbench) -> None:
        identity = {**bench.testbed.identity(), "model": "base"}
        super().__init__("base", identity, TrainingFacts("base", budget={"default": True}))
        self._testbed = bench.testbed

    def load(self) -> UNet2DConditionModel:
        return self._testbed.base()


class Fitted(Model):
    """A model trained from a plan. It is read from the store, or trained when it is first needed.

    An interrupted training is resumed from its last checkpoint.

    Args:
        bench: testbed and store.
        plan: everything that determines the weights.
        starts: label of the model that this one is the first stage of; empty if it is none.
    """

    notice: str = ""
    """A line to show before training starts."""

    def __init__(self, bench: Workbench, plan: Plan, starts: str = "") -> None:
        from benchmark.models.fit import concept_images

        concept_images(bench, plan)  # called for its check: it raises an error if the budget is too small
        label, facts = _describe(plan)
        super().__init__(label, identity(bench, plan), facts, identity(bench, unseeded(plan)))
        self._bench, self._plan, self._plugins = bench, plan, plugins_of(plan)
        self._series = f"{label} (start of {starts})" if starts else label
        self._first = Fitted(bench, plan.first, label) if plan.first else None

    def train(self) -> None:
        from benchmark.parallel import agreed

        [missing] = agreed([self._bench.store.find("cost", self.identity) is None])
        if missing:
            self._train()

    def load(self) -> UNet2DConditionModel:
        from methods.pruning.architecture import read_pruned

        store = self._bench.store
        if (artefact := store.find("model", self.identity)) is None:
            self._train()
            artefact = store.get("model", self.identity)
        return read_pruned(artefact.folder)[0].float().to(self._bench.device)

    def ledger(self) -> list[LedgerRow]:
        return list(json.loads(self._cost().path("ledger.json").read_text()))

    def curve(self) -> list[CurveRow]:
        artefact = self._cost()
        return list(json.loads(artefact.path("curve.json").read_text())) if "curve.json" in artefact.files else []

    def config(self) -> JsonObject:
        return config_of(self._plan)

    def plugins(self) -> list[Plugin]:
        return self._plugins

    def counted(self) -> Counted:
        return self._plan.pruned.counted(self._bench)

    def _cost(self) -> Artefact:
        """Return the stored ledger and loss curve; train the model if the store lacks them."""
        store = self._bench.store
        if (artefact := store.find("cost", self.identity)) is None:
            self._train()
            artefact = store.get("cost", self.identity)
        return artefact

    def _train(self) -> None:
        from accelerate import PartialState

        from benchmark.models.fit import fit
        from benchmark.parallel import agreed
        from benchmark.store.claims import making

        store, progress = self._bench.store, self._bench.progress
        if self.notice:
            progress.say(escape(self.notice))
        # Only the main process checks the store and decides for all processes, because another run may finish this
        # training between the checks of two processes.
        is_main = PartialState().is_main_process
        stage = f"train {self.label}"
        claim = making(store, "model", self.identity, stage, progress) if is_main else nullcontext()
        with claim as artefact:
            [missing] = agreed([artefact is None or store.find("cost", self.identity) is None])
            if missing:
                fit(self._bench, self._plan, self.identity, self._first, self._series)


def _describe(plan: Plan) -> tuple[str, TrainingFacts]:
    """Return the label and the facts of the model that a plan trains. Labels have no paths, only names of classes."""
    from methods.base import configure
    from methods.config_fields import settings_of

    method = plan.method
    settings, preset_settings = settings_of(method.config), settings_of(configure(type(method), plan.preset).config)
    changed = {key: value for key, value in settings.items() if value != preset_settings[key]}
    if chooses_names(plan):
        changed["kept_names"] = plan.kept_names
    variant = ",".join(f"{key}={value}" for key, value in sorted(changed.items())) or "default"
    shown = {key: registry.short_name(value) if isinstance(value, str) else value for key, value in changed.items()}
    settings_text = ",".join(f"{key}={value}" for key, value in sorted(shown.items()))
    facts = TrainingFacts(
        method=plan.name,
        preset=plan.preset,
        variant=variant,
        solver=method.solver,
        data=plan.data,
        budget={**plan.budget, "default": plan.default_budget},
        seed=plan.seed,
        recipe=method.recipe,
        pruning=plan.pruned.pruning,
        macs=plan.pruned.macs,
    )
    preset = plan.preset if plan.preset != "default" else ""
    seed = f"seed {plan.seed}" if plan.seed else ""
    name = registry.short_name(plan.name)
    details = ", ".join(detail for detail in (preset, settings_text, seed) if detail)
    return (f"{name} ({details})" if details else name), facts


LONGEST_NAME = 120
"""Maximum length of a name in bytes. It becomes part of file names, which most file systems limit to 255 bytes."""
_OWN_SEED = re.compile(r" \(seed \d+\)$")


def check_name(name: str) -> None:
    """Check the name of an external checkpoint.

    Raises:
        UsageError: if the table reserves the name, or a row or a file cannot have it.
    """
    if not name.strip():
        raise UsageError("The model has no name for its row in the table: give it one with --name.")
    if _OWN_SEED.sub("", name) in (*registry.names("methods"), "base"):
        raise UsageError(f"--name {name!r} is reserved for a row of the benchmark: choose a different name.")
    if not name.isprintable() or name != name.strip():
        raise UsageError(
            f"--name {name[:LONGEST_NAME]!r} has a line break, a control character, or a space at its start or end: "
            "give a name of one line without them."
        )
    if len(name.encode()) > LONGEST_NAME:
        raise UsageError(
            f"--name '{name[:20]}...' is {len(name.encode())} bytes long, too long for a file name: give one of at "
            f"most {LONGEST_NAME} bytes."
        )


def check_name_is_free(
    folder: Path,
    testbed: str,
    name: str,
    checksum: str,
    form: str = "checkpoint",
    parts: Mapping[str, str] | None = None,
) -> None:
    """Check that no record in `folder` uses this name for a different checkpoint, or for different pictures.

    A function that generates pictures may change under its name, like a method from a file: tables show its newest
    version.

    The same U-Net with other parts of a pipeline, such as a text encoder of its own, is a different checkpoint. One
    pipeline may be scored with several choices of its parts, which the labels state.

    Args:
        folder: folder of records.
        testbed: name of the testbed.
        name: name of the checkpoint.
        checksum: its sha256.
        form: "checkpoint", "function" or "pictures".
        parts: sha256 of its own parts by name, where they are already known.

    Raises:
        UsageError: if a record has the same testbed and name and a different checksum.
    """
    checksums = {"": checksum, **(parts or {})}
    for path in visible(folder, "*" + SUFFIX):
        with suppress(RecordError, OSError):
            record = read_record(path)
            if (record.testbed, record.pruning, record.method) != (testbed, BROUGHT, name):
                continue
            recorded_form = record.counted.get("form")
            if form == recorded_form == "function":
                continue  # a newer version of the function
            own: Any = record.counted.get("own parts") or {}
            words: Any = record.counted.get("embeddings") or {}
            recorded = {"": record.counted.get("checkpoint"), **own, **words}
            kinds = {"function": "function", "pictures": "set of pictures"}
            kind = kinds.get(str(recorded_form), "checkpoint")
            for part in checksums.keys() & recorded.keys():
                if recorded[part] != checksums[part]:
                    whose = f"its {PARTS.get(part, part)}'s sha256" if part else "its sha256"
                    raise UsageError(
                        f"'{name}' is the name of a different {kind} in {folder} "
                        f"({whose} begins with {str(recorded[part])[:12]}, this one's with "
                        f"{checksums[part][:12]}): give a different --name."
                    )


class Brought(Model):
    """An external checkpoint, identified by its checksum and those of its parts that differ from the testbed's.

    Args:
        bench: testbed and device.
        checkpoint: result of `external_checkpoint.locate`.
        name: the name of its row.
        parts: the parts of the checkpoint's pipeline that are used (see `chosen_parts`); all others are the testbed's.
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
        unused = _list_unused(checkpoint, testbed.pipeline, parts)
        width = int(inputs(base.config)["cross_attention_dim"])
        own = _find_own(checkpoint, testbed, width, parts, unused)
        if "unet" not in parts and not own.checksums and not embeddings:
            raise UsageError(
                f"The {in_words(parts)} of {checkpoint.pipeline} equals the testbed's, and --parts leaves the U-Net "
                "out: nothing would be scored but the base."
            )
        if "unet" not in parts and checkpoint.architecture is not None:
            raise UsageError(
                "--architecture prunes the checkpoint's U-Net, and --parts leaves it out: add unet to --parts."
            )
        self._own = with_embeddings(own, embeddings, testbed, width)
        base_macs = self._count_macs(base, testbed)
        unet = base
        if "unet" in parts:
            unet = external_checkpoint.load(checkpoint, base, self._own.scheduler or testbed.scheduler)
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


def _list_unused(checkpoint: external_checkpoint.Checkpoint, pipeline: Path, parts: Sequence[str]) -> list[str]:
    """List LoRA files beside a checkpoint's U-Net, and other parts in a file of weights, which are not used.

    `pipeline` is the folder of the testbed's pipeline. Raises DataError if there are any, unless `parts` leaves some
    parts out.
    """
    from benchmark.models.checkpoint_forms.other_parts import list_unused
    from benchmark.models.pipeline_parts import loras

    if checkpoint.file is not None:
        return list_unused(checkpoint.place, checkpoint.file, pipeline, "unet" if tuple(parts) == ("unet",) else "all")
    lora_files = [name for folder in {checkpoint.place, checkpoint.pipeline} if folder for name in loras(folder)]
    if lora_files and tuple(parts) == ALL:
        raise DataError(
            f"The checkpoint {checkpoint.pipeline or checkpoint.place} contains a LoRA ({lora_files[0]}), which would "
            "not be used: merge it (load_lora_weights, fuse_lora) and save the U-Net, or score the U-Net without it "
            "with --parts unet."
        )
    return lora_files


def _find_own(
    checkpoint: external_checkpoint.Checkpoint, testbed: Testbed, width: int, parts: Sequence[str], unused: list[str]
) -> OwnParts:
    """Load the checkpoint's own parts; `width` is the U-Net's cross_attention_dim."""
    if checkpoint.pipeline is not None:
        own = own_parts(checkpoint.pipeline, testbed, width, parts)
    elif tuple(parts) in (ALL, ("unet",)):
        own = OwnParts(tuple(parts))
    else:
        raise UsageError(
            f"The checkpoint {checkpoint.place} is a U-Net and has no other parts: leave --parts out, or give the "
            "folder of its pipeline."
        )
    return replace(own, unused=(*unused, *own.unused))
