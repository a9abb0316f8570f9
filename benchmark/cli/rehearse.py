"""`bench rehearse`: what each stage takes on this machine, in time and memory, before anything long is begun."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import Compiles, Device, Precision, Runs, Testbed, check_plugin
from benchmark.errors import UsageError
from benchmark.json_types import Settings
from benchmark.store import outputs
from benchmark.store.paths import home

FULL = "sd21-rehearsal"
LatentSize = Annotated[
    int | None, typer.Option(help=f"Height of latents, on {FULL}: 64 is full size, 16 what a CPU can do.")
]


def check_size(latent_size: int | None, testbed: str) -> None:
    """UsageError for a size that is asked of a testbed which has one of its own."""
    if latent_size is not None and testbed != FULL:
        raise UsageError(f"--latent-size goes with testbed {FULL}: other testbeds have a size of their own.")


def rehearse(
    testbed: Testbed = FULL,
    latent_size: LatentSize = None,
    batch: Annotated[int, typer.Option(help="Images a training step.", min=1)] = 4,
    steps: Annotated[int, typer.Option(help="Steps of each kind that are timed.", min=1)] = 3,
    images: Annotated[int, typer.Option(help="Pictures that are sampled, decoded and looked at.", min=1)] = 4,
    device: Device = "auto",
    precision: Precision = "",
    compiles: Compiles = False,
    out: Annotated[Path | None, typer.Option(help="JSON to write as well; `bench estimate --from` reads it.")] = None,
    runs: Runs = None,
) -> None:
    """Time a few steps of every stage of every method.

    It says how fast each stage goes and how much memory it holds.
    Utilisation is the share of what a large matrix product reaches here in the same precision. A stage that fails, for
    lack of memory say, is reported in its line, and the others go on.

    \b
    Examples:
      bench rehearse --device cuda --batch 32 --precision bf16 --out rehearsal.json
      bench rehearse --latent-size 16 --batch 1 --steps 1 --images 1
      bench rehearse --testbed mini
    """
    check_plugin("testbeds", testbed)
    check_size(latent_size, testbed)
    runs_folder = outputs.check_folder(runs or home(), "--runs")
    if out:
        outputs.check_file(out)
    from benchmark.api.request import Runtime
    from benchmark.console import Progress
    from benchmark.cost.rehearse import rehearse as rehearsed
    from benchmark.pipeline.setup import workbench_on
    from benchmark.store import durable, paths
    from benchmark.testbeds import resolve

    with Progress() as progress:
        runtime = Runtime(testbed, runs_folder, device, precision, compiles)
        testbed_options: Settings = {} if latent_size is None else {"latent_size": latent_size}
        testbed_options |= {"exact": True} if precision and testbed == FULL else {}
        make_testbed = partial(resolve.load(testbed), **testbed_options)
        report = rehearsed(workbench_on(make_testbed, runtime, runs_folder, progress), batch, steps, images)
    size = report["latent_size"]
    print(
        f"{report['testbed']} on {report['device']}, {report['precision']}, {size} x {size} latents, batch "
        f"{report['batch']}; at best {report['matmul'] / 1e12:.3g} TFLOP/s"
    )
    for row in report["rows"]:
        if row["error"]:
            print(f"{row['stage']:20} failed: {row['error']}")
            continue
        utilisation = "" if row["utilisation"] is None else f"{row['utilisation']:6.0%} used"
        seconds_per_unit = row["seconds"] / row["count"]
        print(
            f"{row['stage']:20} {row['count']:4} {row['unit']:8} {seconds_per_unit:9.3g} s each "
            f"{1 / seconds_per_unit:9.3g}/s {paths.size(row['memory']):>9} memory {utilisation}".rstrip()
        )
    weights = report["weights"]
    print(f"a fitted U-Net takes {paths.size(weights)} of disk, a checkpoint {paths.size(3 * weights)}")
    if out:
        durable.write_bytes(out, (json.dumps(report, indent=1) + "\n").encode())
