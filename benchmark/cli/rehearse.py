"""`bench rehearse`: measures time and memory of each stage on this machine, before a long run is started."""

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
    int | None,
    typer.Option(
        help=f"Height and width of latents on {FULL}: 64 is full size, 16 is feasible on a CPU.",
        show_default="64",
    ),
]


def check_size(latent_size: int | None, testbed: str) -> None:
    """Raise UsageError if a size is given for a testbed whose size cannot be changed."""
    if latent_size is not None and testbed != FULL:
        raise UsageError(f"--latent-size needs --testbed {FULL}: the latent size of other testbeds is fixed.")


def rehearse(
    testbed: Testbed = FULL,
    latent_size: LatentSize = None,
    batch: Annotated[int, typer.Option(help="Images per training step.", min=1)] = 4,
    steps: Annotated[int, typer.Option(help="Number of steps to time for each kind of training step.", min=1)] = 3,
    images: Annotated[int, typer.Option(help="Number of images to sample, decode and score.", min=1)] = 4,
    device: Device = "auto",
    precision: Precision = "",
    compiles: Compiles = False,
    out: Annotated[Path | None, typer.Option(help="JSON file to write as well, for `bench estimate --from`.")] = None,
    runs: Runs = None,
) -> None:
    """Time a few steps of each stage, to predict long runs.

    It covers every method and prints the speed and the memory of each stage, and its utilisation: the FLOP/s reached,
    as a percentage of those of a large matrix product in the same precision. Trainings also have the share of time that
    they waited for picture files, and other stages the time of a first execution, which includes compiling. A stage
    that fails, for example because memory is too small, is reported in its line, and the other stages are still timed.

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
    from benchmark.cost.rehearse import rehearse as time_stages
    from benchmark.pipeline.setup import workbench_on
    from benchmark.store import durable, paths
    from benchmark.testbeds import resolve

    with Progress() as progress:
        runtime = Runtime(testbed, runs_folder, device, precision, compiles)
        testbed_options: Settings = {} if latent_size is None else {"latent_size": latent_size}
        testbed_options |= {"exact": True} if precision and testbed == FULL else {}
        make_testbed = partial(resolve.load(testbed), **testbed_options)
        report = time_stages(workbench_on(make_testbed, runtime, runs_folder, progress), batch, steps, images)
    size = report["latent_size"]
    print(
        f"{report['testbed']} on {report['device']}, {report['precision']}, {size} x {size} latents, batch "
        f"{report['batch']}; a large matrix product reaches {report['matmul'] / 1e12:.3g} TFLOP/s"
    )
    for row in report["rows"]:
        if row["error"]:
            print(f"{row['stage']:20} failed: {row['error']}")
            continue
        utilisation = "" if row["utilisation"] is None else f"{row['utilisation']:6.0%} used"
        wait = "" if row["data_wait"] is None else f"{row['data_wait']:5.0%} waiting for data"
        warm_up = "" if row["warm_up"] is None else f" after {row['warm_up']:.3g} s of warm-up"
        seconds_per_unit = row["seconds"] / row["count"]
        print(
            f"{row['stage']:20} {row['count']:4} {row['unit']:8} {seconds_per_unit:9.3g} s each "
            f"{1 / seconds_per_unit:9.3g}/s {paths.size(row['memory']):>9} memory {utilisation}{wait}{warm_up}".rstrip()
        )
    weights = report["weights"]
    print(f"disk: {paths.size(weights)} per trained U-Net, {paths.size(3 * weights)} per checkpoint of a training")
    if out:
        durable.write_bytes(out, (json.dumps(report, indent=1) + "\n").encode())
