"""`bench footprint`: size and speed of a model next to the base's."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import Device, Precision, Records, Runs, Testbed, check_plugin, records_home, refuse_unread
from benchmark.cli.shown_suite import RowSuite, ShownConcept, shown_suite, suite_or_concept
from benchmark.errors import UsageError
from benchmark.json_types import JsonObject


class Format(StrEnum):
    """Output formats."""

    rich = "rich"
    json = "json"


def footprint(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="Model to measure: the label of a row of `bench table`, the path of a record, or a folder or file of "
            "weights, such as one that `bench export` wrote."
        ),
    ],
    testbed: Testbed = "mini",
    suite: RowSuite = "artists",
    concept: ShownConcept = "",
    checkpoint: Annotated[
        str,
        typer.Option(
            help="File or folder of the weights; needed only if MODEL is the label of a row that `bench eval` made.",
            show_default="none",
        ),
    ] = "",
    batch: Annotated[int, typer.Option(help="Number of images that are sampled together.", min=1)] = 1,
    rounds: Annotated[int, typer.Option(help="Number of times that each model is timed.", min=1)] = 10,
    device: Device = "auto",
    precision: Precision = "",
    format: Annotated[Format, typer.Option(help="Output format.")] = Format.rich,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Measure a model's size and speed next to the base model's.

    Both U-Nets are timed alternately in one run, so that they meet the same load of the machine. Use an idle machine.
    If the 95 % interval of the share of times contains 100 %, "no difference measured" is printed: add --rounds.
    The time of a sampling step includes both calls of the U-Net that guidance needs. Peak memory is measured on CUDA
    devices only.

    \b
    Examples:
      bench footprint bilevel
      bench footprint exported/bilevel --device cuda --precision bf16
      bench footprint distilled --batch 8 --format json
      bench footprint uce --concept boat.toml
    """
    testbed_name = check_plugin("testbeds", testbed)
    suite = suite_or_concept(ctx, suite, concept)
    from benchmark.api.request import Runtime
    from benchmark.console import Progress
    from benchmark.cost.footprint import measure, report
    from benchmark.export.find_model import check_checkpoint, records_of, weights_of
    from benchmark.models.external_checkpoint import load, locate
    from benchmark.pipeline.setup import workbench_for
    from benchmark.records.record import SUFFIX
    from benchmark.store.paths import home
    from benchmark.tables.select import gather

    is_path = Path(model).expanduser().exists() and not model.endswith(SUFFIX)
    if is_path and checkpoint:
        raise UsageError(f"{model} is itself a checkpoint: leave --checkpoint out.")
    if is_path:
        refuse_unread(ctx, {"suite": "--suite", "concept": "--concept"}, f"{model} is a checkpoint, not a row")
    record = None
    if not is_path:
        records_folder = records_home(runs, records)
        suite = shown_suite(suite, (row for row, _ in gather(testbed_name, records_folder, records or [])))
        record = records_of(model, testbed_name, suite, records_folder, records or [])[0]
        check_checkpoint(record, checkpoint)
        if record.method == "base":
            raise UsageError("Every model is measured next to the base: name a different one.")
    with Progress() as progress:
        bench = workbench_for(Runtime(testbed, device=device, precision=precision), runs or home(), progress)
        base = bench.testbed.base()
        if record:
            label, unet = record.label, weights_of(record, bench, checkpoint)[0]
        else:
            label = Path(model).expanduser().absolute().name
            unet = load(locate(model, "unet"), bench.testbed.base(), bench.testbed.scheduler)
        label = f"{label} (given)" if label == "base" else label
        unets = {"base": base.float().to(bench.device), label: unet.float().to(bench.device)}
        rows = measure(bench, unets, batch, rounds)
        document = report(bench, rows, batch, rounds)
    if format == Format.json:
        print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _print_table(document)


FEW_ROUNDS = "With fewer than 6 rounds, the share of times has no interval, and can be noise."


def _share(row: JsonObject, key: str) -> str:
    """Return a value as a share of the base's. A share of times whose interval contains 1 is no difference."""
    share = f"{row['ratio'][key]:.0%}"
    if key != "milliseconds" or row["time_ratio_interval"] is None:
        return share
    low, high = row["time_ratio_interval"]
    return "no difference measured" if low <= 1 <= high else f"{share} ({low:.0%} to {high:.0%})"


def _print_table(document: JsonObject) -> None:
    """Print one column per model, with the ratios to the base in brackets."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from benchmark.console import console_on
    from benchmark.store.paths import size

    rows = document["rows"]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("")
    for row in rows:
        table.add_column(Text(row["label"]), justify="right")
    forms = {
        "parameters": ("parameters", lambda row: f"{row['parameters']:,}"),
        "bytes": ("weights in fp32", lambda row: size(row["bytes"])),
        "macs": ("MACs per call and image", lambda row: f"{row['macs']:.4g}"),
        "milliseconds": (
            "ms per sampling step",
            lambda row: f"{row['milliseconds']:.4g} ({row['low']:.4g} to {row['high']:.4g})",
        ),
        "memory": ("peak memory", lambda row: "·" if row["memory"] is None else size(row["memory"])),
    }
    for key, (title, form) in forms.items():
        space = "\n" if key == "milliseconds" else "  "
        shares = ["", *(f"{space}{_share(row, key)}" if key in row["ratio"] else "" for row in rows[1:])]
        table.add_row(title, *(form(row) + share for row, share in zip(rows, shares, strict=True)))
    console = console_on()
    console.print(table)
    images = "1 image" if document["batch"] == 1 else f"{document['batch']} images"
    notes = [
        f"{document['testbed']} on {document['device']} in {document['precision']}, {images} per step; "
        f"median (quartiles) of {document['rounds']} rounds in turns; %: share of the base's value "
        "(for times, the median of the rounds' shares, with its 95 % interval).",
        *([FEW_ROUNDS] if rows[-1]["time_ratio_interval"] is None else []),
        *(["Peak memory is measured on CUDA devices only."] if rows[0]["memory"] is None else []),
    ]
    for note in notes:
        console.print(note, style="dim", markup=False)
