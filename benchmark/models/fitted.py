"""The models of rows: the base, a trained one (found in the store or trained), a checkpoint made elsewhere."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from benchmark import registry
from benchmark.api.model import Model, TrainingFacts
from benchmark.errors import DataError, RecordError, UsageError
from benchmark.json_types import Counted, CurveRow
from benchmark.models import external_checkpoint
from benchmark.models.external_checkpoint import Parts
from benchmark.models.plan import Plan, chooses_names, identity, unseeded
from benchmark.records.record import BROUGHT, SUFFIX, read_record
from benchmark.store.listing import visible

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.testbed import Workbench
    from benchmark.store.artefacts import Artefact
    from methods.budget import LedgerRow
    from methods.quantization import Weights


class Base(Model):
    """The testbed's base model, which is not trained here."""

    def __init__(self, bench: Workbench) -> None:
        identity = {**bench.testbed.identity(), "model": "base"}
        super().__init__("base", identity, TrainingFacts("base", budget={"default": True}))
        self._testbed = bench.testbed

    def load(self) -> UNet2DConditionModel:
        return self._testbed.base()


class Fitted(Model):
    """The model that a plan trains; found in the store by its identity, or trained (and resumed) at its first use."""

    notice: str = ""
    """A line that is shown before it is trained."""

    def __init__(self, bench: Workbench, plan: Plan) -> None:
        from benchmark.models.fit import concept_images

        concept_images(bench, plan)  # a budget that cannot be met is refused before any work
        label, facts = _named(plan)
        super().__init__(label, identity(bench, plan), facts, identity(bench, unseeded(plan)))
        self._bench, self._plan = bench, plan
        self._first = Fitted(bench, plan.first) if plan.first else None

    def train(self) -> None:
        from benchmark.parallel import agreed

        [missing] = agreed([self._bench.store.find("cost", self.identity) is None])
        if missing:
            self._make()

    def load(self) -> UNet2DConditionModel:
        from methods.pruning.architecture import read_pruned

        store = self._bench.store
        if (artefact := store.find("model", self.identity)) is None:
            self._make()
            artefact = store.get("model", self.identity)
        return read_pruned(artefact.folder)[0].float().to(self._bench.device)

    def ledger(self) -> list[LedgerRow]:
        return list(json.loads(self._cost().path("ledger.json").read_text()))

    def curve(self) -> list[CurveRow]:
        artefact = self._cost()
        return list(json.loads(artefact.path("curve.json").read_text())) if "curve.json" in artefact.files else []

    def counted(self) -> Counted:
        return self._plan.pruned.counted(self._bench)

    def _cost(self) -> Artefact:
        """The ledger and curve, which are stored with the weights."""
        store = self._bench.store
        if (artefact := store.find("cost", self.identity)) is None:
            self._make()
            artefact = store.get("cost", self.identity)
        return artefact

    def _make(self) -> None:
        from accelerate import PartialState

        from benchmark.models.fit import fit
        from benchmark.parallel import agreed
        from benchmark.store.claims import making

        store, progress = self._bench.store, self._bench.progress
        if self.notice:
            progress.say(escape(self.notice))
        # The main process checks, waits and decides for all: another run may end this training between two checks.
        is_main = PartialState().is_main_process
        stage = f"train {self.label}"
        claim = making(store, "model", self.identity, stage, progress) if is_main else nullcontext()
        with claim as artefact:
            [missing] = agreed([artefact is None or store.find("cost", self.identity) is None])
            if missing:
                fit(self._bench, self._plan, self.identity, self._first)


def _named(plan: Plan) -> tuple[str, TrainingFacts]:
    """The label and the facts of the model that a plan trains."""
    from methods.base import configure
    from methods.config_fields import settings_of

    method = plan.method
    settings, preset_settings = settings_of(method.config), settings_of(configure(type(method), plan.preset).config)
    changed = {key: value for key, value in settings.items() if value != preset_settings[key]}
    if chooses_names(plan):
        changed["kept_names"] = plan.kept_names
    variant = ",".join(f"{key}={value}" for key, value in sorted(changed.items())) or "default"
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
    details = ", ".join(detail for detail in (preset, variant if changed else "", seed) if detail)
    return (f"{plan.name} ({details})" if details else plan.name), facts


LONGEST_NAME = 120
"""Bytes of a name: it becomes part of the names of files and folders, which have 255 at most."""
_OWN_SEED = re.compile(r" \(seed \d+\)$")


def check_name(name: str) -> None:
    """UsageError for a name that the table reserves, or that is no valid name for a row or a file."""
    if not name.strip():
        raise UsageError("The model has no name to stand under in the table: give it one with --name.")
    if _OWN_SEED.sub("", name) in (*registry.names("methods"), "base"):
        raise UsageError(f"--name {name!r} is what the table calls a row of its own: choose another.")
    if not name.isprintable() or name != name.strip():
        raise UsageError(
            f"--name {name[:LONGEST_NAME]!r} has a line end, a control character or a blank at its end: give a name of "
            "one line."
        )
    if len(name.encode()) > LONGEST_NAME:
        raise UsageError(
            f"--name '{name[:20]}...' has {len(name)} letters, too many for a file's name: give one of at most "
            f"{LONGEST_NAME} bytes."
        )


def check_name_is_free(folder: Path, testbed: str, name: str, checksum: str) -> None:
    """UsageError if records in `folder` have this name for a checkpoint with another checksum."""
    for path in visible(folder, "*" + SUFFIX):
        with suppress(RecordError, OSError):
            record = read_record(path)
            recorded = record.counted.get("checkpoint")
            if (record.testbed, record.pruning, record.method) == (testbed, BROUGHT, name) and recorded != checksum:
                raise UsageError(
                    f"'{name}' is the name of another checkpoint in {folder} (its sha256 begins with "
                    f"{str(recorded)[:12]}, this one's with {checksum[:12]}): give another --name."
                )


class Brought(Model):
    """A checkpoint that was trained elsewhere, identified by its checksum.

    DataError for a pipeline that differs from the testbed's in another part than its U-Net, unless `parts` is "unet".
    """

    def __init__(
        self,
        bench: Workbench,
        checkpoint: external_checkpoint.Checkpoint,
        name: str,
        parts: Parts = "all",
        weights: Weights = "full",
    ) -> None:
        from methods.pruning.macs import count_macs
        from methods.quantization import round_weights

        testbed = bench.testbed
        unused = _unused(testbed.pipeline, checkpoint, parts)
        base = testbed.base()
        size, length = testbed.sampler.latent_size, testbed.text_length
        base_macs = count_macs(base, size, length)
        unet = external_checkpoint.load(checkpoint, base, testbed.scheduler)
        try:
            macs = count_macs(unet, size, length)
        except (TypeError, ValueError, RuntimeError, AttributeError) as error:  # its authors may have changed any part
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"The checkpoint {checkpoint.place} cannot be called as the testbed's U-Net is ({first}): choose the "
                "testbed of its base model."
            ) from error
        share, checksum = macs / base_macs, checkpoint.sha256()
        self._counted: Counted = {
            "share": share, "counter": "torch flop_counter", "latent_size": size, "text_length": length,
            "checkpoint": checksum, "form": checkpoint.form,
        }  # fmt: skip
        if parts == "unet":
            self._counted |= {"parts": parts, "not used": unused}
        rounded = {} if weights == "full" else {"weights": weights}
        self._counted |= rounded
        round_weights(unet, weights)
        details = ", ".join([*(["U-Net alone"] if parts == "unet" else []), *rounded.values()])
        super().__init__(
            f"{name} ({details})" if details else name,
            {**testbed.identity(), "model": BROUGHT, "checkpoint": checksum, **rounded},
            TrainingFacts(
                name,
                variant=f"weights={weights}" if rounded else "default",
                data=BROUGHT,
                pruning=BROUGHT,
                macs=min(1.0, round(share, 4)),
            ),
        )
        self._unet, self._device = unet, bench.device

    def load(self) -> UNet2DConditionModel:
        return self._unet.to(self._device)  # type: ignore[arg-type]

    def counted(self) -> Counted:
        return self._counted


def _unused(pipeline: Path, checkpoint: external_checkpoint.Checkpoint, parts: Parts) -> list[str]:
    """What differs between the checkpoint's pipeline and the testbed's, and is not used; DataError unless `parts` is
    "unet"."""
    from benchmark.models.pipeline_parts import differences, loras

    if checkpoint.form == "weights":
        return []
    beside = [name for folder in {checkpoint.place, checkpoint.pipeline} if folder for name in loras(folder)]
    if beside and parts != "unet":
        raise DataError(
            f"The checkpoint {checkpoint.pipeline or checkpoint.place} has a LoRA beside it ({beside[0]}), which is "
            "not used here: merge it (load_lora_weights, fuse_lora) and save the U-Net, or score the U-Net without it "
            "by --parts unet."
        )
    if checkpoint.pipeline is None:
        return beside
    if parts == "unet":
        try:
            return [*beside, *differences(checkpoint.pipeline, pipeline)]
        except DataError as error:
            return [*beside, str(error)]
    if unused := differences(checkpoint.pipeline, pipeline):
        raise DataError(
            f"The checkpoint {checkpoint.pipeline} differs from the testbed's model in what is not used here: "
            f"{', '.join(unused)}; choose the testbed of its base model, or score its U-Net alone with --parts unet."
        )
    return []
