"""`bench speed`: what the harness's way of generating and training gains, measured where it is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli_options import Device, Precision, Runs, Testbed, known
from benchmark.cli_rehearse import FULL, LatentSize, check_size
from benchmark.paths import home


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
    """Time generation and training against the loops of published scripts, on the same work, in one run.

    Quiet machines give honest figures; of all of them, the ratios carry over best. With --stages, `bench run --method
    distilled --suite artists` is timed stage by stage, in a folder that is removed again.

    \b
    Examples:
      bench speed --out results/mini/speed.json
      bench speed --stages --out results/mini/stages.json
      bench speed --testbed sd21-rehearsal --device cuda --precision bf16 --batch 16 --out speed.json
    """
    known("testbeds", testbed)
    check_size(latent_size, testbed)
    from functools import partial

    from benchmark import durable, run
    from benchmark.console import Progress
    from benchmark.request import RunRequest
    from benchmark.testbeds import choice

    place = runs or home()
    request = RunRequest("distilled", "artists", testbed=testbed, runs=place, device=device, precision=precision)
    command = f"bench speed --testbed {testbed} --device {device}" + (f" --precision {precision}" if precision else "")
    if stages:
        from benchmark.stages import measured

        told = measured(request)
        command += " --stages"
    else:
        from benchmark.speed import measure

        with Progress() as progress:
            given: dict[str, Any] = {} if latent_size is None else {"latent_size": latent_size}
            given |= {"exact": True} if testbed == FULL else {}
            bench = run.workbench_on(partial(choice.load(testbed), **given), request, place, progress)
            concept = bench.testbed.concept(())
            asked = bench.testbed.prompts("artists", concept)[:images]
            told = measure(bench, concept, asked, steps, batch)
        command += f" --images {images} --steps {steps}" + (f" --batch {batch}" if batch else "")
        command += f" --latent-size {latent_size}" if latent_size else ""
    for row in told["rows"]:
        print(_stage(row) if stages else _way(row))
    if stages:
        print(f"{'in all':40} {told['seconds']:15.1f} s {told['cores']:6.2f} cores busy")
    if out:
        durable.write_bytes(out, (json.dumps({"command": command, **told}, indent=1) + "\n").encode())


def _way(row: dict[str, Any]) -> str:
    from benchmark.paths import size

    held = "" if row["memory"] is None else f" {size(row['memory']):>9}"
    beside = "" if row["ours"] else f"   here {row['ours_faster']:.2f}x"
    used = f"{row['utilisation']:5.0%} used"
    return f"{row['work']:11} {row['way']:43} {row['rate']:8.2f} {row['unit']}/s{held} {used}{beside}"


def _stage(row: dict[str, Any]) -> str:
    return f"{row['stage']:40} {row['began']:6.1f} {row['seconds']:8.1f} s {row['cores']:6.2f} cores busy"
