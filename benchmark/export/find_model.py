"""Finds the record, and the weights, of the model that a user names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import DataError, UsageError
from benchmark.records.record import BROUGHT, SUFFIX, Record, read_record
from benchmark.store import manifest
from benchmark.tables.columns import BUILT_IN
from benchmark.tables.select import Found, gather, same_model
from benchmark.tables.table1_styles import table

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.testbed import Workbench
    from benchmark.json_types import NetworkConfig
    from benchmark.models.external_checkpoint import Checkpoint, Parts
    from benchmark.models.own_parts import OwnParts
    from methods.pruning.architecture import Architecture


def records_of(name: str, testbed: str, suite: str, runs: Path, paths: Sequence[Path]) -> list[Record]:
    """Return the records of one model, one per suite, that of `suite` first.

    Args:
        name: a record's file, or the label of a row of `bench table`; the default view of the table is searched before
            the view of `--all`.
        testbed: the testbed of the row.
        suite: the suite of the row.
        runs: the runs folder, whose records are searched beside the committed ones.
        paths: files or folders of records to search instead; empty for none.

    Raises:
        DataError: no record, or several models, have this name.
    """
    if name.endswith(SUFFIX):
        record = read_record(Path(name))
        entries = gather(record.testbed, runs, [Path(name).parent])
    else:
        entries = gather(testbed, runs, paths)
        record = _find_by_label(entries, testbed, suite, name)
    partners = {r.suite: r for r, _ in entries if same_model(record, r) and r.suite != record.suite}
    return [record, *(partners[partner_suite] for partner_suite in sorted(partners))]


def _find_by_label(entries: Sequence[Found], testbed: str, suite: str, name: str) -> Record:
    matching = [(r, source) for r, source in entries if (r.testbed, r.suite, r.label) == (testbed, suite, name)]
    # Committed records come without weights, so the user's own record of a model comes first.
    own_models = [record for record, source in matching if source == "local"]
    models = own_models or [record for record, _ in matching]
    if len(models) != 1 and (
        suite in BUILT_IN or any((record.testbed, record.suite) == (testbed, suite) for record, _ in entries)
    ):
        rows = [*table(entries, testbed, suite).rows, *table(entries, testbed, suite, everything=True).rows]
        if shown := [row.record for row in rows if row.label == name]:
            models = [own for own in own_models if same_model(own, shown[0])][-1:] or shown[:1]
    if not models:
        labels = sorted({record.label for record, _ in entries if (record.testbed, record.suite) == (testbed, suite)})
        suites = sorted({record.suite for record, _ in entries if (record.testbed, record.label) == (testbed, name)})
        in_others = f" Suite {' and '.join(suites)} has it: add --suite {suites[0]}." if suites else ""
        raise DataError(
            f"There is no record of '{name}' in suite '{suite}' on testbed '{testbed}'.{in_others} There are: "
            f"{', '.join(labels) or 'none'}; and the labels of `bench table --all`."
        )
    if len(models) > 1:
        file = (models[0].folder or Path()) / f"{models[0].stem}{SUFFIX}"
        raise DataError(
            f"'{name}' is the label of {len(models)} models: name the record's file of one, such as {file}."
        )
    return models[0]


def check_checkpoint(record: Record, checkpoint: str) -> None:
    """Raise UsageError if the record's model cannot be exported with this checkpoint.

    `checkpoint` is needed for a record of `bench eval`, and must not be given for a trained model. Pictures that this
    package did not sample have no weights, and a model with embeddings cannot be exported.
    """
    if record.own_sampler:
        raise UsageError(f"'{record.label}' was scored by its pictures alone, so there are no weights to read.")
    if record.pruning == BROUGHT and not checkpoint:
        raise UsageError(
            f"'{record.label}' is an external checkpoint that `bench eval` scored: name its file or folder with "
            "--checkpoint."
        )
    if record.pruning != BROUGHT and checkpoint:
        raise UsageError(f"'{record.label}' was trained by `bench run`: leave --checkpoint out.")
    if record.counted.get("embeddings"):
        raise UsageError(
            f"'{record.label}' was measured with --embedding, which `bench export` does not write: export the model "
            "that was scored without it, and add the embedding with load_textual_inversion of diffusers."
        )


def checkpoint_files(record: Record, checkpoint: str) -> dict[str, str]:
    """Return the sha256 of each file of the weights of a record of `bench eval`, by name; empty for other records."""
    if record.pruning != BROUGHT:
        return {}
    checksums = {}
    for file in _locate(record, checkpoint).files():
        with open(file, "rb") as opened:
            checksums[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return checksums


def own_parts_of(record: Record, bench: Workbench, checkpoint: str) -> OwnParts:
    """Return the parts that a record's model was sampled with instead of the testbed's; none for a trained model.

    Raises:
        DataError: a part is not what the record was measured on.
    """
    from benchmark.models.chosen_parts import ALL, in_words, parse_parts
    from benchmark.models.own_parts import OwnParts, own_parts
    from benchmark.models.part_sources import part_source
    from methods.sampling import inputs

    recorded: Any = record.counted.get("own parts") or {}
    if not recorded:
        return OwnParts()
    source = part_source(_locate(record, checkpoint))
    if source is None:
        raise DataError(
            f"'{record.label}' was measured with its own {in_words(list(recorded))}: name the folder of the pipeline "
            "with --checkpoint, not its U-Net."
        )
    chosen = parse_parts(str(record.counted.get("parts", "all")))
    width = int(inputs(bench.testbed.base().config)["cross_attention_dim"])
    own = own_parts(source, bench.testbed, width, chosen)
    if different := [part for part in {**recorded, **own.checksums} if own.checksums.get(part) != recorded.get(part)]:
        raise DataError(
            f"The {in_words(different)} of {checkpoint} is not the one that '{record.label}' was measured on."
        )
    return replace(own, chosen=ALL)


def weights_of(
    record: Record, bench: Workbench, checkpoint: str, scheduler: NetworkConfig | None = None
) -> tuple[UNet2DConditionModel, Architecture | None]:
    """Return the U-Net of a record, with its architecture if it is pruned.

    Args:
        checkpoint: where the weights of a record of `bench eval` are; empty for other records.
        scheduler: the noise schedule that the record's model was sampled with; None for the testbed's.

    Raises:
        DataError: the weights are not in the runs folder, or `checkpoint` is not what the record was measured on.
    """
    from methods.pruning.architecture import Architecture, read_pruned

    if record.pruning == BROUGHT:
        return _external(record, bench, checkpoint, scheduler or bench.testbed.scheduler)
    if checkpoint:
        raise UsageError(
            f"--checkpoint goes with records of `bench eval`; '{record.label}' was trained by `bench run`."
        )
    if record.method == "base":
        return bench.testbed.base(), None
    folder = _model_folder(record, bench)
    identity = json.loads((folder / manifest.MANIFEST).read_bytes())["identity"]
    unet, architecture = read_pruned(bench.store.get("model", identity).folder)
    whole = architecture == Architecture.full(bench.testbed.base())
    return unet, None if whole else architecture


def _model_folder(record: Record, bench: Workbench) -> Path:
    if not record.model_key:
        raise DataError(f"The record of '{record.label}' does not name its weights: {_retrain(record)}.")
    for layer in (bench.store.home / "artefacts", *bench.store.shipped):
        if (layer / "model" / record.model_key / manifest.MANIFEST).is_file():
            return layer / "model" / record.model_key
    raise DataError(
        f"The weights of '{record.label}' are not in {bench.store.home}: name the runs folder that has them with "
        f"--runs, or {_retrain(record)}."
    )


def _retrain(record: Record) -> str:
    return f"train the model with `bench run --method {record.method} --suite {record.suite}`, and export it again"


def _external(
    record: Record, bench: Workbench, checkpoint: str, scheduler: NetworkConfig
) -> tuple[UNet2DConditionModel, Architecture | None]:
    from benchmark.models.chosen_parts import parse_parts
    from benchmark.models.external_checkpoint import load

    located = _locate(record, checkpoint, "unet")
    if located.sha256() != record.counted.get("checkpoint"):
        raise DataError(f"The checkpoint {checkpoint} is not the one that '{record.label}' was measured on.")
    chosen = str(record.counted.get("parts", "all"))
    if "unet" not in parse_parts(chosen):
        return bench.testbed.base(), None
    unet = load(located, bench.testbed.base(), scheduler, may_equal_base=True)
    return unet, _architecture(unet, bench.testbed.base())


def _locate(record: Record, checkpoint: str, parts: Parts = "all") -> Checkpoint:
    """Locate a record's checkpoint, with the scale of a LoRA that the record was measured with."""
    from benchmark.models.external_checkpoint import locate, scaled

    scale = record.counted.get("lora_scale", 1.0)
    return scaled(locate(checkpoint, parts), scale if isinstance(scale, int | float) else 1.0)


def _architecture(unet: UNet2DConditionModel, base: UNet2DConditionModel) -> Architecture | None:
    """The architecture of a pruned U-Net of which only the number of kept elements is known; None if it is whole."""
    from methods.pruning.architecture import Architecture, gates, width
    from methods.pruning.depth import Dropped, droppable

    dropped = [name for name in droppable(base) if isinstance(unet.get_submodule(name), Dropped)]
    kept_elements = {name: range(width(module)) for name, module in gates(unet).items()}
    architecture = Architecture.of(base, kept_elements, dropped)
    return None if architecture == Architecture.full(base) else architecture
