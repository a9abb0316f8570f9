"""`bench export`: write a model as a diffusers pipeline folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import Records, Runs, Testbed, check_plugin, records_home
from benchmark.cli.shown_suite import RowSuite, ShownConcept, shown_suite, suite_or_concept
from benchmark.errors import UsageError


def export(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(help="Model to export: the label of a row of `bench table`, or the path of a record.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    testbed: Testbed = "mini",
    suite: RowSuite = "artists",
    concept: ShownConcept = "",
    checkpoint: Annotated[
        str,
        typer.Option(
            help="File or folder of the weights; needed only for a model that `bench eval` scored.", show_default="none"
        ),
    ] = "",
    half: Annotated[bool, typer.Option("--half", help="Write weights in float16.")] = False,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Export a model as a diffusers pipeline, with a model card.

    The folder can be loaded where this project is not installed. A model with the base's shapes loads with
    StableDiffusionPipeline.from_pretrained. The folder of a pruned model contains a small module, loader.py, that loads
    it. The model card, README.md, states scores, provenance, how to load the model, its intended use and its limits.

    \b
    Examples:
      bench export bilevel exported/bilevel
      bench export "bilevel (seed 1)" exported/seed1 --half
      bench export runs/records/mini-esd-artists-seed0-12345678.record.json exported/esd
      bench export my-lora exported/my-lora --checkpoint my-lora/unet
      bench export uce exported/boatless --concept boat.toml
    """
    import os

    from benchmark.store.outputs import check_folder

    testbed_name = check_plugin("testbeds", testbed)
    suite = suite_or_concept(ctx, suite, concept)
    if os.path.lexists(out):
        raise UsageError(f"{out} exists already: name a new folder.")
    check_folder(out, "OUT")
    from benchmark.export.find_model import check_checkpoint, records_of
    from benchmark.tables.select import gather

    home = records_home(runs, records)
    suite = shown_suite(suite, (record for record, _ in gather(testbed_name, home, records or [])))
    model_records = records_of(model, testbed_name, suite, home, records or [])
    check_checkpoint(model_records[0], checkpoint)
    from benchmark.api.request import Runtime
    from benchmark.console import Progress
    from benchmark.export.card import model_card
    from benchmark.export.find_model import checkpoint_files, own_parts_of, weights_of
    from benchmark.export.pipeline_folder import write_pipeline
    from benchmark.pipeline.setup import workbench_for

    with Progress() as progress:
        bench = workbench_for(Runtime(testbed, device="cpu"), home, progress)
        own = own_parts_of(model_records[0], bench, checkpoint)
        unet, architecture = weights_of(model_records[0], bench, checkpoint, own.scheduler)
        sampler = bench.testbed.sampler.model_dump()
        card = model_card(
            model_records, bench.testbed.license, sampler, architecture is not None, half, Path(out.name),
            checkpoint_files(model_records[0], checkpoint),
        )  # fmt: skip
        with progress.stage(f"export {model_records[0].label}", 1, "pipeline") as stage:
            write_pipeline(out, bench.testbed, unet, architecture, card, half, own)
            stage.advance()
    print(out)
