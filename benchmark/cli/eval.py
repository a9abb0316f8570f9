"""`bench eval`: scores an external checkpoint."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark import launcher
from benchmark.cli.options import (
    Alone,
    AsPublished,
    ComparedWith,
    Compiles,
    Device,
    Limit,
    Metrics,
    Precision,
    Reference,
    Reveal,
    Runs,
    Targets,
    Testbed,
    artists_named,
    check_plugin,
    refuse_unread,
)
from benchmark.errors import UsageError
from benchmark.store.paths import home


class Rounding(StrEnum):
    """Number of bits that weights are rounded to."""

    full = "full"
    int8 = "int8"
    int4 = "int4"


def evaluate(
    ctx: typer.Context,
    checkpoint: Annotated[
        str,
        typer.Option(
            help="U-Net or pipeline to score: a folder, a file of weights, or a Hugging Face Hub id, "
            "also of a commit, tag or branch: org/model@revision."
        ),
    ],
    suite: Annotated[
        str,
        typer.Option(
            help="Prompts and scores: a name from `bench list suites`, or a file: path/to/file.py:Class or my.toml. "
            "Suite `coco` is run as well, unless --alone is given."
        ),
    ],
    name: Annotated[str, typer.Option(help="Label of the row in tables.", show_default="the checkpoint's name")] = "",
    architecture: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Pruned architecture to cut a full-size checkpoint to: an architecture.json, or a vector as "
            "APTP saves it.",
        ),
    ] = None,
    parts: Annotated[
        str,
        typer.Option(
            metavar="<str>",
            help="Parts of a pipeline to use: `all`, or some of unet, text_encoder, tokenizer, vae, scheduler, with "
            "commas. All other parts are the testbed's. The row says which parts were chosen.",
        ),
    ] = "all",
    embedding: Annotated[
        list[Path] | None,
        typer.Option(
            help="File with the embedding of a new word (textual inversion, of diffusers or A1111), which is added to "
            "the text encoder and the tokenizer. Prompts use it where they contain the word. The row names it. May be "
            "repeated.",
            show_default="none",
        ),
    ] = None,
    weights: Annotated[
        Rounding, typer.Option(help="Round the U-Net's weights to 8 or 4 bits before sampling. The row says so.")
    ] = Rounding.full,
    testbed: Testbed = "mini",
    reference: ComparedWith = Reference.distilled,
    targets: Targets = "",
    budget: Annotated[
        str,
        typer.Option(
            help="Training budget of the distilled reference, as in `bench run`.", show_default="set by the testbed"
        ),
    ] = "default",
    alone: Alone = False,
    metric: Metrics = None,
    runs: Runs = None,
    device: Device = "auto",
    reveal: Reveal = False,
    as_published: AsPublished = False,
    precision: Precision = "",
    compiles: Compiles = False,
    limit: Limit = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<str>",
            help="Requirement COLUMN<=NUMBER or COLUMN>=NUMBER. The exit code is 1 unless the whole 95 % "
            "interval meets "
            "it. Columns are named as in `bench table --format json`. May be repeated.",
            show_default="none",
        ),
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML file to write the results of --require to.")] = None,
) -> None:
    """Score a U-Net or pipeline that was trained elsewhere.

    Its row appears in the table next to the base model and the reference, which CP and CSD
    compare with.

    \b
    A checkpoint is one of:
      a pipeline or a U-Net in diffusers' layout (folder or Hub id)
      a file with all weights of the U-Net, pruned or not, under diffusers' names
      a file with some of them, as ESD publishes; the testbed's U-Net supplies
      the others

    \b
    A pipeline is sampled with its own text encoder, tokenizer, VAE and noise
    schedule where they differ from the testbed's, and the row names these
    parts. The solver, its steps and the guidance are the testbed's. A part
    that does not fit is refused; --parts unet scores the U-Net without it.

    \b
    Examples:
      bench eval --checkpoint esd-van-gogh.safetensors --suite artists --testbed sd21 --name esd-x
      bench eval --checkpoint my/pipeline --suite artists --reference base
      bench eval --checkpoint my/pipeline --suite artists --parts unet,text_encoder
      bench eval --checkpoint new.pt --suite artists --require 'target_style<=0.1' --require 'kept_style>=0.8'
    """
    check_plugin("testbeds", testbed)
    suite_name = check_plugin("suites", suite)
    for metric_name in metric or ():
        check_plugin("metrics", metric_name)
    if reference == Reference.base:
        refuse_unread(ctx, {"budget": "--budget"}, "it trains the distilled reference, and --reference is base")
    from benchmark.api.request import RunRequest, parse_budgets
    from benchmark.models.chosen_parts import parse_parts
    from benchmark.models.external_checkpoint import default_name
    from benchmark.models.fitted import check_name
    from benchmark.pipeline.run import evaluate as score_checkpoint

    if not checkpoint.strip():
        raise UsageError("--checkpoint is empty: name a folder, a file of weights or a Hub id.")
    if len(parse_budgets(budget)) > 1:
        raise UsageError(f"--budget '{budget}' lists several budgets, and the reference has one: give only one.")
    from benchmark.store.outputs import check_file
    from benchmark.tables.requirements import judge, parse
    from benchmark.tables.requirements import junit as junit_xml

    requirements = []
    if require:
        from benchmark.suites.load import in_run
        from benchmark.tables.columns import declared_by

        run_suite = in_run(suite, metric or ())
        suites = [run_suite.name, *(run_suite.brings if not alone else ())]
        requirements = parse(require, suites, declared_by(run_suite.name, run_suite.shown))
    if junit is not None and not requirements:
        raise UsageError("--junit writes the results of --require: give at least one.")
    if junit is not None:
        check_file(junit, "--junit")
    parse_parts(parts)
    label = name or default_name(checkpoint)
    check_name(label)
    request = RunRequest(
        method="distilled",
        suite=suite,
        testbed=testbed,
        targets=artists_named(testbed, targets),
        budget=budget,
        runs=runs or home(),
        device=device,
        alone=alone,
        reveal=reveal,
        as_published=as_published,
        precision=precision,
        compiles=compiles,
        limit=limit,
        reference=reference.value,
        metrics=tuple(metric or ()),
    )
    from benchmark.console import Progress

    with Progress() as progress:
        outcome = score_checkpoint(
            request, checkpoint, label, progress, architecture, parts, weights.value, embedding or ()
        )
    if not launcher.is_first():
        return  # the first process has the records

    from benchmark.tables.render import print_rich
    from benchmark.tables.select import Found
    from benchmark.tables.table1_styles import table

    entries: list[Found] = [(record, "local") for record in outcome.records]
    print_rich(table(entries, check_plugin("testbeds", testbed), suite_name, everything=True))
    width = max(map(len, outcome.paths), default=0)
    for description, path in outcome.paths.items():
        print(f"{description.ljust(width)}  {path}")
    if not requirements:
        return
    from benchmark.records.record import BROUGHT
    from benchmark.store import durable

    verdicts = judge(requirements, [record for record in outcome.records if record.pruning == BROUGHT])
    for verdict in verdicts:
        print(verdict)
    if junit is not None:
        durable.write_bytes(junit, junit_xml(verdicts, label).encode())
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(1)
