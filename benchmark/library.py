"""The Python interface: `from benchmark import run, evaluate, load_records`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api.request import Outcome
from benchmark.cli.options import Reference
from benchmark.cli.run_options import RunOptions
from benchmark.errors import UsageError
from benchmark.store.paths import home

if TYPE_CHECKING:
    import pyarrow

    from methods.quantization import Weights


def run(
    method: str,
    suite: str = "",
    *,
    concept: str | Path = "",
    testbed: str = "mini",
    targets: Sequence[str] = (),
    pruning: str = "magnitude",
    macs: float | None = None,
    preset: str = "",
    settings: Mapping[str, Any] | None = None,
    budget: str = "default",
    seed: int = 0,
    data: str = "plain",
    kept_names: str = "all",
    reference: str = "distilled",
    alone: bool = False,
    limit: int | None = None,
    as_published: bool = False,
    device: str = "auto",
    precision: str = "",
    compiles: bool = False,
    workers: int | None = None,
    runs: str | Path | None = None,
) -> Outcome:
    """Train, sample, score and write records like `bench run`. Results in the runs folder are reused.

    Args:
        method: name of a method, or path/to/file.py:Class.
        suite: name of a suite; the suites that it also runs are included, unless `alone`.
        concept: instead of `suite`, the TOML file of a concept of your own.
        settings: fields of the method's config that differ from its preset.
        budget: "default", U-Net FLOPs such as "1e13", "2h", or iterations such as "350it".
        runs: folder of checkpoints, pictures and records; by default $PALIMPSEST_HOME or, if it is not set, ./runs.

    The other arguments are options of `bench run` with the same names.

    Returns:
        The records of all rows (base, reference, method), and the paths of the contact sheet, pictures and records.

    Raises:
        PalimpsestError: an invalid argument (raised before any computation), or a run that cannot be finished.
    """
    from benchmark.console import Progress
    from benchmark.pipeline.run import run as run_request

    changed = [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
    options = RunOptions(
        method=method, suite=suite, concept=str(concept), testbed=testbed, pruning=pruning, macs=macs,
        targets=",".join(targets), seed=seed, preset=preset, set_=changed, budget=budget,
        data=data, kept_names=kept_names, limit=limit, runs=_folder(runs), device=device, alone=alone,
        reference=_reference(reference), as_published=as_published, precision=precision, compiles=compiles,
        workers=workers,
    )  # fmt: skip
    requests = options.requests()
    if len(requests) > 1:
        raise UsageError("run() takes one method and one budget: call it separately for every combination.")
    with Progress() as progress:
        return run_request(requests[0], progress)


def evaluate(
    checkpoint: str | Path = "",
    suite: str = "",
    *,
    concept: str | Path = "",
    generate: str = "",
    images: str | Path | None = None,
    name: str = "",
    architecture: str | Path | None = None,
    parts: str = "all",
    embedding: Sequence[str | Path] = (),
    weights: Weights = "full",
    lora_scale: float = 1.0,
    testbed: str = "mini",
    reference: str = "distilled",
    targets: Sequence[str] = (),
    budget: str = "default",
    alone: bool = False,
    metric: Sequence[str] = (),
    runs: str | Path | None = None,
    device: str = "auto",
    reveal: bool = False,
    as_published: bool = False,
    precision: str = "",
    compiles: bool = False,
    limit: int | None = None,
    require: Sequence[str] = (),
    junit: str | Path | None = None,
) -> Outcome:
    """Score a model that was trained elsewhere, or its pictures, like `bench eval`.

    Give one of `checkpoint`, `generate` and `images`.

    Args:
        checkpoint: folder or file of weights, or a Hub id.
        generate: a function that generates pictures, as path/to/file.py:function.
        images: folder of pictures that exist already, with a prompts.csv.
        name: the name of the row in tables; by default that of the checkpoint, the function or the folder.
        architecture: file with an architecture to which weights of full size are pruned.
        parts: the parts of a checkpoint that are used, such as "unet,text_encoder"; by default all of them.
        embedding: files with embeddings of new words (textual inversion) for the text encoder.
        weights: "int8" or "int4" first rounds the U-Net's weights, with one scale per output channel.
        lora_scale: factor by which the change of a LoRA is multiplied before it is added to the base (finite).
        reference: the model that CP and CSD compare with: "distilled" (trained with `budget` if it is not stored) or
            "base".
        metric: further metrics, as names or path/to/file.py:Class.
        require: requirements such as "target_style<=0.1". `Outcome.requirements` says which are met; those that are
            not raise no error.
        junit: JUnit XML file to write the results of `require` to.

    Other arguments and the errors are the same as for `run`, and the result has the rows of the base and the reference
    as well.
    """
    from benchmark.cli.command_words import command_words
    from benchmark.cli.eval import evaluate as declared
    from benchmark.cli.eval_options import EvalOptions

    options = EvalOptions(
        suite=suite, concept=str(concept), checkpoint=str(checkpoint), generate=generate, images=_path(images),
        name=name, architecture=_path(architecture), parts=parts, embedding=tuple(map(Path, embedding)),
        weights=weights, lora_scale=lora_scale, testbed=testbed, reference=_reference(reference),
        targets=",".join(targets), budget=budget, alone=alone, metric=tuple(metric), runs=_path(runs), device=device,
        reveal=reveal, as_published=as_published, precision=precision, compiles=compiles, limit=limit,
        require=tuple(require), junit=_path(junit),
    )  # fmt: skip
    outcome, _, verdicts = options.evaluate(options.changed(), command_words("eval", declared, vars(options)))
    return outcome._replace(requirements={str(verdict.requirement): verdict.passed for verdict in verdicts})


def load_records(*folders: str | Path) -> pyarrow.Table:
    """Read all records under the folders into one table with one row per record.

    Columns are `label`, `testbed`, `suite`, `method`, `preset`, `variant`, `pruning`, `macs`, `data`, `seed`,
    `targets`, `reference`, `model_key`, `flops`, `seconds`, and for each score its value `<score>`, `<score>_n` (number
    of scored pictures) and `<score>_low`, `<score>_high` (95 % interval); null where a record lacks the score.

    Raises:
        UsageError: if a folder does not exist.
        RecordError: if a record is damaged, or was written by a newer version.
    """
    from benchmark.records.arrow_table import as_table
    from benchmark.records.record import read_records

    paths = [Path(folder) for folder in folders]
    if missing := [path for path in paths if not path.is_dir()]:
        raise UsageError(f"The folder {missing[0]} to read records from does not exist.")
    return as_table(read_records(paths))


def _path(place: str | Path | None) -> Path | None:
    return None if place is None else Path(place)


def _folder(runs: str | Path | None) -> Path:
    return home() if runs is None else Path(runs)


def _reference(name: str) -> Reference:
    if name not in Reference.__members__:
        raise UsageError(f"{name!r} is not a reference; use {' or '.join(Reference.__members__)}.")
    return Reference(name)
