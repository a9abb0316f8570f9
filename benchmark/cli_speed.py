"""`bench speed`: what the harness's way of generating and training gains, measured where it is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli_options import Device, Precision, Runs, Testbed, known
from benchmark.paths import home


def speed(
    testbed: Testbed = "mini",
    images: Annotated[int, typer.Option(help="Pictures that each way of generating makes.", min=1)] = 64,
    steps: Annotated[int, typer.Option(help="Training steps that each way takes.", min=1)] = 12,
    device: Device = "auto",
    precision: Precision = "",
    out: Annotated[Path | None, typer.Option(help="JSON to write as well.")] = None,
    runs: Runs = None,
) -> None:
    """Time generation and training against the loops of published scripts, on the same work, in one run.

    Quiet machines give honest figures; of all of them, the ratios carry over best.

    \b
    Examples:
      bench speed
      bench speed --device cuda --images 256 --out speed.json
    """
    known("testbeds", testbed)
    from benchmark import durable
    from benchmark.console import Progress
    from benchmark.request import RunRequest
    from benchmark.run import workbench_for
    from benchmark.speed import measure

    place = runs or home()
    with Progress() as progress:
        request = RunRequest(
            "distilled", "artists", testbed=testbed, runs=place, device=device, precision=precision,
        )  # fmt: skip
        bench = workbench_for(request, place, progress)
        concept = bench.testbed.concept(())
        asked = bench.testbed.prompts("artists", concept)[:images]
        told = measure(bench, concept, asked, steps)
    for row in told["rows"]:
        beside = "" if row["ours"] else f"   here {row['ours_faster']:.2f}x"
        print(f"{row['work']:11} {row['way']:43} {row['rate']:8.2f} {row['unit']}/s{beside}")
    if out:
        durable.write_bytes(out, (json.dumps(told, indent=1) + "\n").encode())
