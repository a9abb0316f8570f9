"""`bench grid`: pictures of several models for the same prompts, as in Figures 1, 2 and 6 of the paper."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.grid_inputs import checkpoint, method_names, read_prompts
from benchmark.cli.options import (
    Budget,
    ConceptFile,
    Device,
    Macs,
    Precision,
    Pruning,
    Runs,
    Seed,
    Targets,
    Testbed,
    artists_named,
    check_plugin,
    share_of_macs,
    suite_asked,
)
from benchmark.errors import UsageError
from benchmark.store import outputs
from benchmark.store.paths import home

if TYPE_CHECKING:
    from benchmark.contact_sheet import Sheet

SUFFIXES = (".png", ".pdf")
LARGEST_SEED = 2**62
"""Maximum of --noise-seed, which leaves room for the seeds of the following columns."""


def grid(
    prompts: Annotated[
        str,
        typer.Option(
            help='Prompts, one column each: texts separated by semicolons ("a boat;a tree"); a .txt file with one per '
            "line; a CSV or Parquet file with the column `text` and optionally `seed` and `part`, such as `bench "
            "prompts write` writes; or figure-1, figure-2 or figure-6, which are the prompts of the paper's figures "
            "(on mini: the nearest that it knows)."
        ),
    ],
    methods: Annotated[
        str,
        typer.Option(
            help="Models, one row each, separated by commas: `base`, and methods that `bench run` has trained. Next to "
            "other methods, `distilled` is their reference, with training seed 0.",
            show_default="base,distilled,bilevel; those of the paper for figure-6",
        ),
    ] = "",
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PATH",
            help="External checkpoint in a further row: a file, folder or Hub id, as for `bench eval --checkpoint`. "
            "NAME labels the row. May be repeated.",
            show_default="none",
        ),
    ] = None,
    testbed: Testbed = "mini",
    suite: Annotated[
        str,
        typer.Option(
            help="Suite that the methods were trained for, which says what they forget.", show_default="artists"
        ),
    ] = "",
    concept: ConceptFile = "",
    pruning: Pruning = "magnitude",
    macs: Macs = None,
    targets: Targets = "",
    seed: Seed = 0,
    budget: Budget = "default",
    noise_seed: Annotated[
        int,
        typer.Option(
            help="Seed of the first column's noise, which all rows share. Each following column has the next seed. A "
            "column `seed` of the file is used instead.",
            min=0,
            max=LARGEST_SEED,
        ),
    ] = 0,
    steps: Annotated[
        int | None, typer.Option(help="Number of sampling steps.", min=1, show_default="set by the testbed")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Height and width of the pictures in pixels.", min=1, show_default="set by the testbed"),
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            help="File to write, .png or .pdf. May be given twice, for both.",
            show_default="a PNG in <runs>/pictures",
        ),
    ] = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="Do not blur explicit pictures.")] = False,
    device: Device = "auto",
    precision: Precision = "",
    runs: Runs = None,
) -> None:
    """Show pictures of several models for the same prompts.

    Rows are models and columns are prompts. All pictures of a column start from the same noise. Prompts that name a
    target come first, under a heading of their own. Nothing is trained: the models must be in the runs folder, and
    --pruning, --macs, --targets, --seed, --budget and --precision say which they are, as in `bench run`. Pictures are
    stored, so a second call samples only what is new.

    \b
    Pictures that the testbed's detector calls explicit are blurred, and so are all
    pictures of models for a suite of explicit content. --reveal shows them, records
    the time in runs/revealed.txt, and writes a file that only you can read.

    \b
    Examples:
      bench grid --prompts figure-2
      bench grid --prompts figure-6 --out figure-6.png --out figure-6.pdf
      bench grid --prompts "a boat by Claude Monet;a starry night" --methods base,bilevel
      bench grid --prompts prompts.csv --methods base,uce --seed 1 --steps 50
      bench grid --prompts figure-1 --model theirs=esd.safetensors --testbed sd21
    """
    given = read_prompts(prompts)
    check_plugin("testbeds", testbed)
    suite_name = suite_asked(suite or ("" if concept else "artists"), concept, targets)
    check_plugin("suites", suite_name)
    check_plugin("prunings", pruning)
    chosen_methods = method_names(methods, given)
    checkpoints = [checkpoint(text) for text in model or ()]
    for path in out or ():
        outputs.check_file(path, suffixes=SUFFIXES)
    from benchmark.api.request import RunRequest, parse_budgets

    if len(parse_budgets(budget)) > 1:
        raise UsageError(f"--budget '{budget}' lists several budgets, and a grid shows one model per method: give one.")
    run = RunRequest(
        method="distilled",
        suite=suite_name,
        testbed=testbed,
        pruning=pruning,
        macs=share_of_macs(pruning, macs),
        targets=artists_named(testbed, targets),
        seed=seed,
        budget=budget,
        runs=runs or home(),
        device=device,
        reveal=reveal,
        precision=precision,
    )
    from benchmark.console import Progress
    from benchmark.pipeline.grid import make_grid
    from benchmark.pipeline.grid_request import GridRequest
    from benchmark.store import durable
    from benchmark.store.artefacts import PRIVATE
    from benchmark.store.reveals import log_reveal

    request = GridRequest(run, chosen_methods, checkpoints, given, noise_seed, steps, size)
    with Progress() as progress:
        finished = make_grid(request, run.runs, progress)
    folder = run.runs / "artefacts" / PRIVATE[0] / "revealed" if finished.revealed else run.runs / "pictures"
    for path in out or [folder / f"{finished.name}.png"]:
        durable.write_bytes(path, WRITERS[path.suffix.lower()](finished.sheet))
        if finished.revealed:
            path.chmod(0o600)
            log_reveal(run.runs, path.name)
        print(path)
    if finished.blurred:
        pictures = "1 picture is" if finished.blurred == 1 else f"{finished.blurred} pictures are"
        print(f"{pictures} blurred as explicit: --reveal shows explicit pictures.", file=sys.stderr)


def _png(sheet: Sheet) -> bytes:
    from benchmark.contact_sheet import draw, png_bytes

    return png_bytes(draw(sheet))


def _pdf(sheet: Sheet) -> bytes:
    from benchmark.figures.sheet_pdf import pdf_bytes

    return pdf_bytes(sheet)


WRITERS: dict[str, Callable[[Sheet], bytes]] = {".png": _png, ".pdf": _pdf}
"""By suffix, the function that draws a sheet in this format."""
