"""The command `bench`. Only typer is imported at start-up; each command imports what it needs when it is called."""

from __future__ import annotations

import sys
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from benchmark.cli_attack import attack
from benchmark.cli_clean import clean
from benchmark.cli_doctor import doctor
from benchmark.cli_estimate import estimate
from benchmark.cli_eval import evaluate
from benchmark.cli_figure import campaign, figure, page
from benchmark.cli_options import (
    Alone,
    AsPublished,
    Budget,
    Captions,
    Columns,
    Compiles,
    Device,
    Macs,
    Precision,
    Preset,
    Pruning,
    Records,
    Reveal,
    Runs,
    Seed,
    Settings,
    Targets,
    Testbed,
    artist,
    known,
    names,
)
from benchmark.cli_prompts import prompts_app
from benchmark.cli_prune import prune_app
from benchmark.cli_rehearse import rehearse
from benchmark.cli_speed import speed
from benchmark.cli_study import study
from benchmark.cli_testbed import testbed_app
from benchmark.errors import BudgetError, PalimpsestError, TrainingError, UsageError
from benchmark.paths import home


class Format(StrEnum):
    """How `bench table` prints; the names of `tables_render.FORMATS`."""

    rich = "rich"
    json = "json"
    markdown = "markdown"


INTERRUPTED = 130  # 128 + SIGINT, as shells report it
ALL = "all"  # of the installed methods, or of the prunings in a table


class _Commands(TyperGroup):
    """Turns what a person can mend into one sentence on standard error, whichever command it comes from."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PalimpsestError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except PermissionError as error:  # of what a user named, wherever it was first looked at
            if error.filename is None:
                raise
            told = f"{error.filename} cannot be used ({(error.strerror or 'no permission').lower()})"
            print(f"error: {told}: make it yours to read and write, or name another place.", file=sys.stderr)
            raise typer.Exit(PalimpsestError.exit_code) from None
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
                raise
            said = str(error).partition(". ")[0]
            print(f"error: {said}: try --precision bf16, or another --device.", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("interrupted; run the same command again to go on", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None


# Plain help: rich's would take 0.17 s more of start-up, and an example in a box cannot be copied.
_STYLE: dict[str, Any] = {"rich_markup_mode": None, "no_args_is_help": True, "add_completion": False}
app = typer.Typer(cls=_Commands, pretty_exceptions_enable=False, **_STYLE)
app.add_typer(testbed_app, name="testbed")
for command in (attack, campaign, clean, doctor, estimate, figure, page, rehearse, speed, study):
    app.command()(command)
app.command("eval")(evaluate)
app.add_typer(prompts_app, name="prompts")
app.add_typer(prune_app, name="prune")


@app.callback()
def bench() -> None:
    """Measure how well a compressed diffusion model forgets, and what it keeps.

    \b
    Start here (about 5 minutes on two CPU cores, no download):
      bench run --method bilevel --suite artists
      bench table
      bench list methods
    """


@app.command()
def run(
    method: Annotated[
        str, typer.Option(help="How to retrain and to forget: a name, path/to/file.py:Class, or all of them: all.")
    ],
    suite: Annotated[str, typer.Option(help="What to generate and score; `artists` brings `coco` along.")],
    testbed: Testbed = "mini",
    pruning: Pruning = "magnitude",
    macs: Macs = 0.8,
    targets: Targets = "",
    seed: Seed = 0,
    preset: Preset = "",
    set_: Settings = None,
    budget: Budget = "default",
    data: Captions = "plain",
    alone: Alone = False,
    runs: Runs = None,
    device: Device = "auto",
    reveal: Reveal = False,
    as_published: AsPublished = False,
    precision: Precision = "",
    compiles: Compiles = False,
    yes: Annotated[bool, typer.Option("--yes", help="Begin without asking, however long it will take.")] = False,
) -> None:
    """Train, generate, score and write a record.

    What was made before is reused; an interrupted run goes on where it stopped. Of several budgets, "60it,350it", each
    is scored; a distillation keeps the shorter ones as it passes them.

    \b
    Examples:
      bench run --method bilevel --suite artists
      bench run --method bilevel --suite artists --targets "Katsushika Hokusai,Piet Mondrian"
      bench run --method bilevel --suite artists --set solver=dynamic-barrier --seed 1
      bench run --method distilled --suite coco --macs 0.55 --budget 60it,120it,350it
      bench run --method my/eraser.py:Eraser --suite artists
      bench run --method all --suite artists
    """
    from benchmark.request import RunRequest, parse_budgets, parse_settings

    # Names first, before the first import of torch.
    for group, name in (("testbeds", testbed), ("suites", suite), ("prunings", pruning)):
        known(group, name)
    methods = _all_methods(preset, set_) if method == ALL else [method]
    if method != ALL:
        known("methods", method)
    budgets = parse_budgets(budget)
    request = RunRequest(
        method=methods[0],
        suite=suite,
        testbed=testbed,
        pruning=pruning,
        macs=macs,
        preset=preset,
        overrides=parse_settings(set_ or []),
        targets=tuple(artist(testbed, name) for name in names(targets)),
        seed=seed,
        budget=budgets[0],
        data=data,
        runs=runs or home(),
        device=device,
        alone=alone,
        reveal=reveal,
        as_published=as_published,
        precision=precision,
        compiles=compiles,
    )
    from dataclasses import replace

    from benchmark.consent import consent
    from benchmark.console import Progress
    from benchmark.run import run as run_benchmark

    requests = [
        replace(request, method=name, budget=each, along=tuple(budgets[k + 1 :]))
        for name in methods
        for k, each in enumerate(budgets)
    ]
    consent(requests, yes)

    records: dict[str, Any] = {}
    paths: dict[str, Path] = {}
    failed: list[str] = []
    with Progress() as progress:
        for k, one in enumerate(requests):
            name = one.method + (f" for {one.budget}" if len(budgets) > 1 else "")
            if len(requests) > 1:
                progress.say(f"method    {name} ({k + 1} of {len(requests)})")
            try:
                found, paths = run_benchmark(one, progress)
            except (BudgetError, TrainingError) as error:  # its own; the next may do better
                if len(requests) == 1:
                    raise
                progress.warn(f"{name}: {error}")
                failed.append(name)
                continue
            records |= {record.stem: record for record in found}
    if not records:
        raise TrainingError("No method came to an end, see above.")

    from benchmark.tables import table
    from benchmark.tables_render import print_rich

    name = known("testbeds", testbed)
    print_rich(table([(record, "local") for record in records.values()], name, suite, everything=True))
    width = max(map(len, paths), default=0)
    for what, path in paths.items():
        print(f"{what.ljust(width)}  {path}")
    if failed:
        raise TrainingError(f"There is no row of {', '.join(failed)}, see above; what the others gave is kept.")


@app.command("table")
def show_table(
    number: Annotated[int, typer.Argument(help="Table of the paper: 1, 2 or 3.", metavar="[1]")] = 1,
    testbed: Testbed = "mini",
    suite: Annotated[str, typer.Option(help="artists (with coco beside it), or coco alone.")] = "artists",
    paper: Annotated[bool, typer.Option("--paper", help="Put the paper's value beside the measured one.")] = False,
    long: Annotated[bool, typer.Option("--long", help="Add where the erased goes, content, KID, drift, cost.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Every budget, target set, pruning and older recipe.")] = False,
    pruning: Annotated[
        str, typer.Option(help="One pruning at all its MACs, or all of them side by side: all.", show_default="default")
    ] = "",
    targets: Annotated[
        str, typer.Option(help='Table 1: "A,B"; the models that forgot these.', show_default="the testbed's")
    ] = "",
    seeds: Annotated[bool, typer.Option("--over-seeds", help="One row a method, means over training seeds.")] = False,
    columns: Columns = "",
    threshold: Annotated[float, typer.Option(help="Table 2: score above which a detection counts.")] = 0.5,
    label: Annotated[
        list[str] | None, typer.Option(help="Table 2: a detector's label that counts; may be repeated.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.rich,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Print a table of the paper from the records there are: 1 styles, 2 attacks, 3 what forgetting nudity costs.

    Committed reference runs and your own are both shown, and marked.

    \b
    Examples:
      bench table
      bench table 2 --threshold 0.6
      bench table --paper --long
      bench table --over-seeds
      bench table --pruning all --long
      bench table --format markdown > table.md
      bench table --records other/runs/records
    """
    from benchmark.registry import is_file
    from benchmark.tables import gather, only, table
    from benchmark.tables_render import FORMATS

    testbed = known("testbeds", testbed)
    known("suites", suite)
    if pruning not in ("", ALL) and not is_file(pruning):  # records outlive a file
        known("prunings", pruning)
    if (pruning or targets) and number != 1:
        raise UsageError(
            "--pruning and --targets go with table 1: the others have one concept and the default pruning."
        )
    if number not in (1, 2, 3):
        raise UsageError(f"Table {number} is none of those that can be made: 1, 2 and 3.")
    if not 0 < threshold < 1:
        raise UsageError(f"--threshold is a score between 0 and 1; {threshold:g} is not.")
    found = gather(testbed, runs or home(), records or [])
    from benchmark.explicit_tables import table2, table3

    if number == 1:
        aimed = [artist(testbed, name) for name in names(targets)]
        wide = long or bool(columns)
        made = table(found, testbed, suite, long=wide, paper=paper, everything=all_, pruning=pruning, targets=aimed)
    elif number == 2:
        made = table2(found, testbed, threshold=threshold, labels=label or (), paper=paper)
    else:
        made = table3(found, testbed, paper=paper)
    if seeds:
        from benchmark.over_seeds import over_seeds

        made = over_seeds(made)
    FORMATS[format](only(made, names(columns)) if columns else made)


@app.command()
def compare(
    left: Annotated[str, typer.Argument(help="A method, or the label of a row of `bench table`.")],
    right: Annotated[str, typer.Argument(help="Another.")],
    testbed: Testbed = "mini",
    suite: Annotated[str, typer.Option(help="artists (with coco beside it), or coco alone.")] = "artists",
    long: Annotated[bool, typer.Option("--long", help="Every column, not only the paper's.")] = False,
    columns: Columns = "",
    pruning: Annotated[str, typer.Option(help="Models of this pruning.", show_default="the default one")] = "",
    macs: Annotated[float | None, typer.Option(help="Share of MACs.", show_default="the default one")] = None,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.rich,
    records: Records = None,
    runs: Runs = None,
) -> None:
    """Test the difference between two methods, paired by targets and training seed.

    With several such units intervals and p are over units; with one, over the prompts of that one pair of models.

    \b
    Examples:
      bench compare bilevel esd
      bench compare bilevel "bilevel (lower_rate=5e-05)" --long
      bench compare bilevel esd --macs 0.55
      bench compare bilevel distilled --format json
    """
    from benchmark.compare import compare as compared
    from benchmark.compare import only
    from benchmark.compare_render import FORMATS
    from benchmark.registry import is_file
    from benchmark.tables import gather

    testbed = known("testbeds", testbed)
    known("suites", suite)
    found = gather(testbed, runs or home(), records or [])
    if pruning and not is_file(pruning):
        known("prunings", pruning)
    wide = long or bool(columns)
    made = compared(found, testbed, suite, left, right, long=wide, pruning=pruning, macs=macs)
    FORMATS[format](only(made, names(columns)) if columns else made)


@app.command("list")
def show_list(
    kind: Annotated[str, typer.Argument(help="methods, objectives, suites, testbeds, metrics, prunings or artists.")],
    testbed: Annotated[str, typer.Option(help="Whose artists to list.")] = "mini",
) -> None:
    """Say what there is to choose from, one line each.

    \b
    Examples:
      bench list methods
      bench list artists
    """
    from benchmark.listing import listing

    if kind == "artists":
        known("testbeds", testbed)
    rows = listing(kind, testbed)
    width = max((len(name) for name, _ in rows), default=0)
    for name, line in rows:
        print(f"{name.ljust(width)}  {line}")


def _all_methods(preset: str, settings: list[str] | None) -> list[str]:
    """Every installed method but `distilled`, which is part of each run as the reference.

    Of second stages, that with the longest distillation comes first: the shorter ones lie on its way.
    """
    from benchmark import registry
    from benchmark.models import OWN_SHARE
    from methods.base import configure

    if settings or preset:
        raise UsageError("--set and --preset are one method's own: leave them out with --method all.")
    methods = [configure(registry.load("methods", name)) for name in registry.names("methods") if name != "distilled"]
    methods.sort(key=lambda each: getattr(each, "own_share", OWN_SHARE) if each.start == "distilled" else -1.0)
    return [each.name for each in methods]


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # an encoding without arrows or accents shows "?" for them
    app()
