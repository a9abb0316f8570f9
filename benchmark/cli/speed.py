"""`bench speed`: compares the speed of sampling and training with published scripts, on this machine."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import Device, Precision, Runs, Testbed, check_plugin, refuse_unread
from benchmark.cli.rehearse import FULL, LatentSize, check_size
from benchmark.errors import UsageError
from benchmark.json_types import JsonObject, Settings
from benchmark.store import outputs
from benchmark.store.paths import home

if TYPE_CHECKING:
    from benchmark.cost.stages import StageRow


def speed(
    ctx: typer.Context,
    testbed: Testbed = "mini",
    images: Annotated[int, typer.Option(help="Number of images that each implementation samples.", min=1)] = 64,
    steps: Annotated[int, typer.Option(help="Number of training steps that each implementation takes.", min=1)] = 12,
    batch: Annotated[
        int | None, typer.Option(help="Images per training step.", min=1, show_default="set by the method")
    ] = None,
    latent_size: LatentSize = None,
    device: Device = "auto",
    precision: Precision = "",
    stages: Annotated[
        bool, typer.Option("--stages", help="Instead, time each stage of a complete run in an empty runs folder.")
    ] = False,
    reading: Annotated[
        bool,
        typer.Option(
            "--reading",
            help="Instead, time how fast 0, 1, 2 and 4 worker processes read pictures of COCO's size, and how long a "
            "step waits for them.",
        ),
    ] = False,
    step_seconds: Annotated[
        float,
        typer.Option(help="With --reading: seconds that the U-Net computes in a training step.", min=0),
    ] = 0.3,
    out: Annotated[Path | None, typer.Option(help="JSON file to write as well.")] = None,
    runs: Runs = None,
) -> None:
    """Benchmark sampling and training against published scripts.

    The loops of the published scripts and of this code process the same images in the same run. Use an idle machine.
    The ratios depend less on the machine than the speeds do.

    With --reading, a training step is a pause of --step-seconds, during which workers read the --batch pictures (by
    default 64) of later steps. It shows whether a GPU of that speed would wait for data.

    With --stages, the stages of `bench run --method distilled --suite artists` are timed instead, in a temporary
    folder.

    \b
    Examples:
      bench speed --out results/mini/speed.json
      bench speed --stages --out results/mini/stages.json
      bench speed --reading --batch 64 --step-seconds 0.3
      bench speed --testbed sd21-rehearsal --device cuda --precision bf16 --batch 16 --out speed.json
    """
    if stages and reading:
        raise UsageError("--stages and --reading measure different things: give one of them.")
    if not math.isfinite(step_seconds):
        raise UsageError(f"--step-seconds is {step_seconds}: give a number of seconds from 0.")
    if not reading:
        refuse_unread(ctx, {"step_seconds": "--step-seconds"}, "only --reading reads it")
    check_plugin("testbeds", testbed)
    check_size(latent_size, testbed)
    runs_folder = outputs.check_folder(runs or home(), "--runs")
    if out:
        outputs.check_file(out)
    if reading:
        _time_reading(batch or 64, steps, step_seconds, out)
        return
    from functools import partial

    from benchmark.api.request import RunRequest
    from benchmark.console import Progress
    from benchmark.pipeline.setup import workbench_on
    from benchmark.store import durable
    from benchmark.testbeds import resolve

    request = RunRequest("distilled", "artists", testbed=testbed, runs=runs_folder, device=device, precision=precision)
    command = f"bench speed --testbed {testbed} --device {device}" + (f" --precision {precision}" if precision else "")
    if stages:
        from benchmark.cost.stages import measured as time_stages

        report = time_stages(request)
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
        print(_stage_line(row) if stages else _comparison_line(row))
    if stages:
        print(f"{'total':40} {report['seconds']:15.1f} s {report['cores']:6.2f} cores busy")
    if out:
        durable.write_bytes(out, (json.dumps({"command": command, **report}, indent=1) + "\n").encode())


def _time_reading(batch: int, steps: int, step_seconds: float, out: Path | None) -> None:
    from benchmark.cost.reading import measure
    from benchmark.store import durable

    report = measure(batch, steps, step_seconds)
    for row in report["rows"]:
        print(
            f"{row['workers']} workers {row['pictures_per_second']:9.1f} pictures/s   "
            f"a step of {step_seconds:g} s waits {row['waited']:4.0%} of the time"
        )
    if out:
        command = f"bench speed --reading --batch {batch} --steps {steps} --step-seconds {step_seconds:g}"
        durable.write_bytes(out, (json.dumps({"command": command, **report}, indent=1) + "\n").encode())


def _comparison_line(row: JsonObject) -> str:
    from benchmark.store.paths import size

    memory = "" if row["memory"] is None else f" {size(row['memory']):>9}"
    comparison = "" if row["ours"] else f"   palimpsest is {row['ours_faster']:.2f}x as fast"
    utilisation = f"{row['utilisation']:5.0%} used"
    return f"{row['work']:11} {row['way']:43} {row['rate']:8.2f} {row['unit']}/s{memory} {utilisation}{comparison}"


def _stage_line(row: StageRow) -> str:
    return f"{row['stage']:40} {row['began']:6.1f} {row['seconds']:8.1f} s {row['cores']:6.2f} cores busy"
