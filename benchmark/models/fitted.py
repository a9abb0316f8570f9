"""The models of rows: the base, a trained one (found in the store or trained), a checkpoint made elsewhere."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import registry
from benchmark.api.model import Model
from benchmark.errors import DataError, RecordError, UsageError
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


def base(bench: Workbench) -> Model:
    """The base model, trained by nobody here."""
    facts = {
        "method": "base", "preset": "default", "variant": "default", "solver": None, "data": "plain",
        "budget": {"default": True}, "seed": 0, "recipe": 1, "pruning": "none", "macs": 1.0,
    }  # fmt: skip
    identity = {**bench.testbed.identity(), "model": "base"}
    return Model("base", identity, facts, bench.testbed.base, list, list, lambda: {"share": 1.0})


def fitted(bench: Workbench, plan: Plan) -> Model:
    """The model that `plan` trains; found in the store by its identity, or trained (and resumed) when asked for."""
    from accelerate import PartialState

    from benchmark.models.fit import concept_images, fit
    from benchmark.parallel import agreed
    from benchmark.store.claims import making
    from methods.base import configure
    from methods.config_fields import settings_of

    method = plan.method
    concept_images(bench, plan)  # a budget that cannot be met is refused before any work
    known = identity(bench, plan)
    first = fitted(bench, plan.first) if plan.first else None
    settings, usual = settings_of(method.config), settings_of(configure(type(method), plan.preset).config)
    changed = {key: value for key, value in settings.items() if value != usual[key]}
    if chooses_names(plan):
        changed["kept_names"] = plan.kept_names
    variant = ",".join(f"{key}={value}" for key, value in sorted(changed.items())) or "default"
    facts = {
        "method": plan.name,
        "preset": plan.preset,
        "variant": variant,
        "solver": method.solver,
        "data": plan.data,
        "budget": {**plan.budget, "default": plan.default_budget},
        "seed": plan.seed,
        "recipe": method.recipe,
        "pruning": plan.pruned.pruning,
        "macs": plan.pruned.macs,
    }
    said = [plan.preset if plan.preset != "default" else "", variant if changed else ""]
    said.append(f"seed {plan.seed}" if plan.seed else "")
    details = ", ".join(word for word in said if word)
    label = f"{plan.name} ({details})" if details else plan.name

    def train() -> None:
        [missing] = agreed([bench.store.find("cost", known) is None])
        if missing:
            make()

    def make() -> None:
        # The first process looks, waits and decides for all: another run may end this training between two looks.
        mine = PartialState().is_main_process
        claimed = making(bench.store, "model", known, f"train {label}", bench.progress) if mine else nullcontext()
        with claimed as kept:
            [missing] = agreed([kept is None or bench.store.find("cost", known) is None])
            if missing:
                fit(bench, plan, known, first)

    def load() -> UNet2DConditionModel:
        from methods.pruning.architecture import read_pruned

        artefact = bench.store.find("model", known)
        if artefact is None:
            make()
            artefact = bench.store.find("model", known)
            assert artefact is not None, "an artefact that was just made is there"
        return read_pruned(artefact.folder)[0].float().to(bench.device)

    def cost() -> Artefact:
        kept = bench.store.find("cost", known)
        if kept is None:
            make()
            kept = bench.store.find("cost", known)
            assert kept is not None, "a model's cost is kept with it"
        return kept

    def ledger() -> list[dict[str, Any]]:
        return list(json.loads(cost().path("ledger.json").read_text()))

    def curve() -> list[dict[str, Any]]:
        kept = cost()
        return list(json.loads(kept.path("curve.json").read_text())) if "curve.json" in kept.files else []

    setting = identity(bench, unseeded(plan))
    return Model(label, known, facts, load, ledger, curve, lambda: plan.pruned.counted(bench), setting, train)


LONGEST_NAME = 120
"""Bytes of a name: it becomes part of the names of files and folders, which have 255 at most."""
_OWN_SEED = re.compile(r" \(seed \d+\)$")


def check_name(name: str) -> None:
    """UsageError for a name that rows of the table have already, or that no row and no file can have."""
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
            there = record.counted.get("checkpoint")
            if (record.testbed, record.pruning, record.method) == (testbed, BROUGHT, name) and there != checksum:
                raise UsageError(
                    f"'{name}' is the name of another checkpoint in {folder} (its sha256 begins with "
                    f"{str(there)[:12]}, this one's with {checksum[:12]}): give another --name."
                )


def brought(bench: Workbench, checkpoint: external_checkpoint.Checkpoint, name: str, parts: Parts = "all") -> Model:
    """The checkpoint as a model: known by its checksum, trained by nobody here.

    DataError for a pipeline that differs from the testbed's in another part than its U-Net, unless `parts` is "unet".
    """
    from methods.pruning.macs import count_macs

    testbed = bench.testbed
    unused = _unused(testbed.pipeline, checkpoint, parts)
    base = testbed.base()
    size, length = testbed.sampler.latent_size, testbed.text_length
    whole = count_macs(base, size, length)
    unet = external_checkpoint.load(checkpoint, base, testbed.scheduler)
    try:
        macs = count_macs(unet, size, length)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:  # whatever its authors built otherwise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"The checkpoint {checkpoint.place} cannot be called as the testbed's U-Net is ({first}): choose the "
            "testbed of its base model."
        ) from error
    share, checksum = macs / whole, checkpoint.sha256()
    counted = {"share": share, "counter": "torch flop_counter", "latent_size": size, "text_length": length}

    def load() -> UNet2DConditionModel:
        return unet.to(bench.device)  # type: ignore[arg-type]

    facts: dict[str, Any] = {
        "method": name, "preset": "default", "variant": "default", "solver": None, "data": BROUGHT, "budget": {},
        "seed": 0, "recipe": 1, "pruning": BROUGHT, "macs": min(1.0, round(share, 4)),
    }  # fmt: skip
    identity = {**testbed.identity(), "model": BROUGHT, "checkpoint": checksum}
    told = {**counted, "checkpoint": checksum, "form": checkpoint.form}
    if parts == "unet":
        told |= {"parts": parts, "not used": unused}
    label = f"{name} (U-Net alone)" if parts == "unet" else name
    return Model(label, identity, facts, load, list, list, lambda: told)


def _unused(ours: Path, checkpoint: external_checkpoint.Checkpoint, parts: Parts) -> list[str]:
    """What of the checkpoint's pipeline differs from the testbed's and is not used; DataError unless that is wanted."""
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
            return [*beside, *differences(checkpoint.pipeline, ours)]
        except DataError as error:
            return [*beside, str(error)]
    if unlike := differences(checkpoint.pipeline, ours):
        raise DataError(
            f"The checkpoint {checkpoint.pipeline} differs from the testbed's model in what is not used here: "
            f"{', '.join(unlike)}; choose the testbed of its base model, or score its U-Net alone with --parts unet."
        )
    return []
