"""`bench eval`: scores an external checkpoint, or pictures that come from outside."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark import launcher
from benchmark.cli.command_words import command_words
from benchmark.cli.end_of_run import end_of_run
from benchmark.cli.eval_options import EvalOptions
from benchmark.cli.eval_sources import Checkpoint, Generate, Images
from benchmark.cli.options import (
    Alone,
    AsPublished,
    ComparedWith,
    Compiles,
    ConceptFile,
    Device,
    Limit,
    Metrics,
    Precision,
    Reference,
    Reveal,
    Runs,
    Suite,
    Targets,
    Testbed,
    check_plugin,
    given_options,
)


class Rounding(StrEnum):
    """Number of bits that weights are rounded to."""

    full = "full"
    int8 = "int8"
    int4 = "int4"


def evaluate(
    ctx: typer.Context,
    suite: Suite = "",
    concept: ConceptFile = "",
    checkpoint: Checkpoint = "",
    generate: Generate = "",
    images: Images = None,
    name: Annotated[
        str,
        typer.Option(help="Label of the row in tables.", show_default="name of the checkpoint, function or folder"),
    ] = "",
    architecture: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Prune the checkpoint's full-size weights to this architecture before scoring: an architecture.json, "
            "as `bench prune` and `bench export` write it, or a vector as APTP saves it.",
        ),
    ] = None,
    parts: Annotated[
        str,
        typer.Option(
            help="Parts of the checkpoint to use: `all`, or some of unet, text_encoder, tokenizer, vae, scheduler, "
            "with commas. All other parts are the testbed's. The row says which parts were chosen. A LoRA can change "
            "the U-Net and the text encoder; a single file holds a U-Net, a text encoder and a VAE.",
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
    lora_scale: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            help="Factor by which the change of a LoRA is multiplied before it is added to the base. 1 adds it as it "
            "was trained, 0 not at all. Any finite number. The row says so unless it is 1.",
        ),
    ] = 1.0,
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
            help="Requirement COLUMN<=NUMBER or COLUMN>=NUMBER. The exit code is 1 unless the whole 95 % interval "
            "meets it. Columns are named as in `bench table --format json`. May be repeated.",
            show_default="none",
        ),
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML file to write the results of --require to.")] = None,
) -> None:
    """Score a model that was trained elsewhere, or its pictures.

    Its row appears in the table next to the base model and the reference, which CP and CSD
    compare with.

    \b
    A checkpoint is one of:
      a pipeline or a U-Net in diffusers' layout (folder or Hub id)
      a file with all weights of the U-Net, pruned or not, under diffusers' names
      a file with some of them, as ESD, UCE and Concept Ablation publish; the
      testbed's U-Net supplies the others
      a LoRA of the U-Net, the text encoder or both, as diffusers, PEFT or
      kohya save it; it is merged into the testbed's networks
      a single file in the original layout of Stable Diffusion 1 or 2

    \b
    A pipeline is sampled with its own text encoder, tokenizer, VAE and noise
    schedule where they differ from the testbed's, and the row names these
    parts. The solver, its steps and the guidance are the testbed's. A part
    that does not fit is refused; --parts unet scores the U-Net without it.
    The text encoder and the VAE of a single file are used in the same way.

    \b
    With --generate or --images, any other model can be scored by its pictures.
    Its row is marked 'own sampler': its noise differs from that of the other
    rows, so CP and CSD also measure the change of noise, `bench compare`
    compares it only with other such rows, and its MACs are unknown.

    \b
    Examples:
      bench eval --checkpoint esd-van-gogh.safetensors --suite artists --testbed sd21 --name esd-x
      bench eval --checkpoint my/pipeline --suite artists --reference base
      bench eval --checkpoint boatless.safetensors --concept boat.toml
      bench eval --generate my.py:generate --suite artists --name sdxl-erased
      bench eval --images my/pictures --suite artists --alone --reference base
      bench eval --checkpoint lora.safetensors --suite artists --lora-scale 0.8
      bench eval --checkpoint my/pipeline --suite artists --parts unet,text_encoder
      bench eval --checkpoint new.pt --suite artists --require 'target_style<=0.1' --require 'kept_style>=0.8'
    """
    options = EvalOptions(
        suite=suite,
        concept=concept,
        checkpoint=checkpoint,
        generate=generate,
        images=images,
        name=name,
        architecture=architecture,
        parts=parts,
        embedding=embedding or (),
        weights=weights.value,
        lora_scale=lora_scale,
        testbed=testbed,
        reference=reference,
        targets=targets,
        budget=budget,
        alone=alone,
        metric=metric or (),
        runs=runs,
        device=device,
        reveal=reveal,
        as_published=as_published,
        precision=precision,
        compiles=compiles,
        limit=limit,
        require=require or (),
        junit=junit,
    )
    outcome, suite_name, verdicts = options.evaluate(given_options(ctx), command_words("eval", evaluate, ctx.params))
    if not launcher.is_first():
        return  # the first process has the records

    from benchmark.tables.render import print_rich
    from benchmark.tables.select import Found
    from benchmark.tables.table1_styles import table

    entries: list[Found] = [(record, "local") for record in outcome.records]
    print_rich(table(entries, check_plugin("testbeds", testbed), suite_name, everything=True))
    print(end_of_run(outcome.records, outcome.paths, runs))
    for verdict in verdicts:
        print(verdict)
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(1)
