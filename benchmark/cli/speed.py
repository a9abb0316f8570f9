"""`bench speed`: what the harness's way of generating and training gains, measured where it is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import Device, Precision, Runs, Testbed, check_plugin
from benchmark.cli.rehearse import FULL, LatentSize, check_size
from benchmark.json_types import JsonObject, Settings
from benchmark.store import outputs
from benchmark.store.paths import home

if TYPE_CHECKING:
    from benchmark.cost.stages import StageRow


def speed(
    testbed: Testbed = "mini",
    images: Annotated[int, typer.Option(help="Pictures that each way of generating makes.", min=1)] = 64,
    steps: Annotated[int, typer.Option(help="Training steps that each way takes.", min=1)] = 12,
    batch: Annotated[
        int | None, typer.Option(help="Images a training step.", min=1, show_default="the method's")
    ] = None,
    latent_size: LatentSize = None,
    device: Device = "auto",
    precision: Precision = "",
    stages: Annotated[
        bool, typer.Option("--stages", help="Time the stages of a run from an empty store instead.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="JSON to write as well.")] = None,
    runs: Runs = None,
) -> None:
    """Time generation and training against published scripts.

    Both do the same work in one run, published scripts as the loops that they consist of.
    Quiet machines give honest figures; of all of them, the ratios carry over best. With --stages, `bench run --method
    distilled --suite artists` is timed stage by stage, in a folder that is removed again.

    \b
    Examples:
      bench speed --out results/mini/speed.json
      bench speed --stages --out results/mini/stages.json
      bench speed --testbed sd21-rehearsal --device cuda --precision bf16 --batch 16 --out speed.json
    """
    check_plugin("testbeds", testbed)
    check_size(latent_size, testbed)
    runs_folder = outputs.check_folder(runs or home(), "--runs")
    if out:
        outputs.check_file(out)
    from functools import partial

    from benchmark.api.request import RunRequest
    from benchmark.console import Progress
    from benchmark.pipeline.setup import workbench_on
    from benchmark.store import durable
    from benchmark.testbeds import resolve

    request = RunRequest("distilled", "artists", testbed=testbed, runs=runs_folder, device=device, precision=precision)
    command = f"bench speed --testbed {testbed} --device {device}" + (f" --precision {precision}" if precision else "")
    if stages:
        from benchmark.cost.stages import measured

        report = measured(request)
        command += " --stages"
    else:
        from benchmark.cost.speed import measure

        with Progress() as progress:
            testbed_options: Settings = {} if latent_size is None else {"latent_size": latent_size}
            testbed_options |= {"exact": True} if testbed == FULL else {}
            bench = workbench_on(
                partial(resolve.load(testbed), **testbed_options), request.runtime, runs_folder, progress
            )
            concept = bench.testbed.concept(())
            prompts = bench.testbed.prompts("artists", concept)[:images]
            report = measure(bench, concept, prompts, steps, batch)
        command += f" --images {images} --steps {steps}" + (f" --batch {batch}" if batch else "")
        command += f" --latent-size {latent_size}" if latent_size else ""
    for row in report["rows"]:
        print(_stage(row) if stages else _way(row))
    if stages:
        print(f"{'in all':40} {report['seconds']:15.1f} s {report['cores']:6.2f} cores busy")
    if out:
        durable.write_bytes(out, (json.dumps({"command": command, **report}, indent=1) + "\n").encode())


def _way(row: JsonObject) -> str:
    from benchmark.store.paths import size

    memory = "" if row["memory"] is None else f" {size(row['memory']):>9}"
    comparison = "" if row["ours"] else f"   here {row['ours_faster']:.2f}x"
    utilisation = f"{row['utilisation']:5.0%} used"
    return f"{row['work']:11} {row['way']:43} {row['rate']:8.2f} {row['unit']}/s{memory} {utilisation}{comparison}"


def _stage(row: StageRow) -> str:
    return f"{row['stage']:40} {row['began']:6.1f} {row['seconds']:8.1f} s {row['cores']:6.2f} cores busy"
