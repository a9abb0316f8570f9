"""Options that several commands share, and checks of their values that import nothing heavy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.errors import UsageError
from benchmark.store.paths import check_folder, kept_home, records_folder

Testbed = Annotated[
    str,
    typer.Option(
        help="Testbed: base model, training data, prompts and scoring networks. A name from `bench list testbeds`, or "
        "a file: my.toml or my.py:Class."
    ),
]


def _check_runs(value: Path | None) -> Path | None:
    """Raise UsageError if the path is a file. A folder that does not exist is created with the first file in it."""
    return None if value is None else check_folder(value, "--runs")


def _check_kept_runs(value: Path | None) -> Path | None:
    """Raise UsageError for a folder that must be read and does not exist."""
    return None if value is None else kept_home(value)


_HOME = "$PALIMPSEST_HOME if set, else ./runs"
Runs = Annotated[
    Path | None,
    typer.Option(help="Folder of checkpoints, images and records.", show_default=_HOME, callback=_check_runs),
]
KeptRuns = Annotated[
    Path | None,
    typer.Option(help="Folder of checkpoints, images and records.", show_default=_HOME, callback=_check_kept_runs),
]
"""The runs folder of commands that only read it."""
Pruning = Annotated[
    str,
    typer.Option(
        help="How the base U-Net is pruned: a name from `bench list prunings`, or a function of yours as "
        "my.py:function."
    ),
]
Macs = Annotated[
    float | None,
    typer.Option(
        help="Fraction of the base U-Net's MACs that the pruned U-Net keeps, above 0 and at most 1.",
        show_default="0.8",
    ),
]
Targets = Annotated[
    str,
    typer.Option(
        help='Artists to forget, separated by commas: "A,B". `bench list artists` shows their names.',
        show_default="set by the testbed",
    ),
]
Suite = Annotated[
    str,
    typer.Option(
        help="Prompts and scores: a name from `bench list suites`, or a file: path/to/file.py:Class or my.toml. "
        "A built-in suite also runs suite `coco`; your own suite also runs the suites in its list `brings`. --alone "
        "turns this off.",
        show_default="none; give it or --concept",
    ),
]
ConceptFile = Annotated[
    str,
    typer.Option(
        "--concept",
        metavar="<path>",
        help="Instead of --suite: a concept of your own that a model should forget. A TOML file states the phrases "
        "to forget, the phrase that replaces them, similar concepts to preserve, the prompts, and the classifier or "
        "function that detects the concept; see docs/own-models.md.",
        show_default="none",
    ),
]
Seed = Annotated[
    int, typer.Option(help="Random seed of training. It does not change the seeds that images are sampled with.")
]
Preset = Annotated[
    str,
    typer.Option(
        help="Named set of the method's settings, such as default, paper or released; `bench list methods` lists them.",
        show_default="set by the testbed",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the method. May be repeated."),
]
Budget = Annotated[
    str,
    typer.Option(
        help="Training budget of the method: U-Net FLOPs (1e15), time on this machine (2h or 30min) or iterations "
        '(350it). Several budgets, such as "60it,350it", train and score one model each.',
        show_default="set by the testbed",
    ),
]
Captions = Annotated[
    str,
    typer.Option(
        help="Captions to fine-tune on: `plain` (the testbed's ordinary captions; those of mini name no "
        "artist) or `all-but-targets` (all captions that name no target)."
    ),
]
KeptNames = Annotated[
    str,
    typer.Option(
        help="Which artists to preserve the method is told by name: all, none, or half of them. half:0, half:1 and "
        "half:2 are three fixed selections of half of the names. Most methods ignore this list."
    ),
]
LimitShown = Annotated[
    int | None,
    typer.Option(help="Show records of runs with this --limit instead of full runs.", show_default="full runs"),
]
Limit = Annotated[
    int | None,
    typer.Option(
        help="For a quick look, use only this many prompts of each artist, in every group of prompts (targets, kept "
        "artists and so on). Repeated runs use the same prompts. `bench table` shows such records only with the same "
        "--limit.",
        show_default="all prompts",
    ),
]
Alone = Annotated[bool, typer.Option("--alone", help="Score only the given suite, without `coco`.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps; auto is cuda if available, else cpu.")]
Precision = Annotated[
    str,
    typer.Option(
        help="Precision of training and sampling: fp32 or bf16. Tables mark bf16 results.",
        show_default="set by the testbed",
    ),
]
Compiles = Annotated[
    bool,
    typer.Option(
        "--compile", help="Compile the U-Net with torch.compile before sampling, which pays off in long runs."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Number of processes that read training pictures from disk ahead of the steps. It changes the speed, "
        "never the result. Testbeds whose pictures are in memory, such as mini, need none.",
        min=0,
        max=64,
        show_default="up to 4 on a GPU, 0 on a CPU",
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help="Score the suite with this metric too: a name from `bench list metrics`, or my.py:Class; may be repeated.",
        show_default="none",
    ),
]
Reveal = Annotated[bool, typer.Option("--reveal", help="Do not blur the contact sheet of a suite of explicit content.")]
AsPublished = Annotated[
    bool,
    typer.Option(
        "--as-published",
        help="Sample public prompt lists as published: repeated rows too, each with the guidance scale and image size "
        "that the list gives.",
    ),
]


class Reference(StrEnum):
    """The model that CP and CSD compare with."""

    distilled = "distilled"
    base = "base"


ComparedWith = Annotated[
    Reference,
    typer.Option(help="Model that CP and CSD compare with. `distilled` is trained first if it does not exist yet."),
]
Columns = Annotated[
    str,
    typer.Option(
        help='Show only these columns: "cp,kept_style". `--format json` shows their names.', show_default="all"
    ),
]
Records = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="<path>",
        help="Record file or folder to read instead of the defaults. May be repeated.",
        show_default="the reference records and --runs",
    ),
]


def check_plugin(group: str, name: str) -> str:
    """Check that `name` is installed in `group`, without importing it, and return the name that records use for it.

    A testbed, a suite, a metric, a method or a pruning may also come from a file, which must exist; that of a testbed
    or a suite is read.

    Raises:
        UsageError: `name` is not installed; the message suggests a similar name.
        DataError: the testbed's or the suite's file is wrong.
    """
    from benchmark import registry
    from benchmark.suites import load
    from benchmark.testbeds import resolve

    if group == "testbeds" and (resolve.is_file(name) or registry.is_file(name)):
        return resolve.name_of(name)
    if group == "suites" and load.is_file(name):
        return load.name_of(name)
    if group in registry.FROM_FILES and registry.fingerprint(name):
        return name
    if name not in (installed := registry.names(group)):
        raise registry.unknown(registry.GROUPS[group], name, installed)
    return name


def suite_asked(suite: str, concept: str, targets: str) -> str:
    """Return the suite of a command: that of `--suite`, or the file of `--concept`, which is a suite as well.

    Raises:
        UsageError: both are given or none, or `--concept` is given with `--targets`, or does not name a concept's file.
        DataError: the file is wrong.
    """
    from benchmark.suites import load

    if bool(suite) == bool(concept):
        both = "--suite and --concept both name the prompts" if suite else "--suite and --concept are missing"
        raise UsageError(f"{both}: give one of them, a suite or the file of a concept of your own.")
    if not concept:
        return suite
    if targets:
        raise UsageError("--targets names artists, but a --concept file has its own targets: leave --targets out.")
    load.load_concept(concept)
    return concept


def names(text: str, option: str = "--targets") -> tuple[str, ...]:
    """Split a comma-separated list: `"A, B"` -> `("A", "B")`; empty if the option was left out.

    Raises:
        UsageError: a name is empty (an unset shell variable can cause this), or is given twice.
    """
    listed_names = tuple(name.strip() for name in text.split(",")) if text else ()
    if not all(listed_names):
        raise UsageError(f"{option} '{text}' contains an empty name: write \"A,B\", or leave the option out.")
    for name in listed_names:
        if listed_names.count(name) > 1:
            raise UsageError(f"{option} names '{name}' twice: name it once.")
    return listed_names


def artists_named(testbed: str, targets: str) -> tuple[str, ...]:
    """Return the full names of the artists that `--targets` lists; empty if it was left out.

    Raises:
        UsageError: the testbed has no such artist, or one is named twice, as in "Monet,Claude Monet".
    """
    full_names = tuple(artist(testbed, name) for name in names(targets))
    for name in full_names:
        if full_names.count(name) > 1:
            raise UsageError(f"--targets names '{name}' twice: name it once.")
    return full_names


def share_of_macs(pruning: str, macs: float | None) -> float:
    """Return the fraction of MACs for a request.

    Raises:
        UsageError: `macs` is not in (0, 1], or is below 1 although the base is not pruned.
    """
    from benchmark.api.request import RunRequest, check_macs

    if macs is not None:
        check_macs(macs)
    if macs is not None and macs != 1 and pruning == "none":
        raise UsageError(
            f"--macs {macs:g} has no effect with --pruning none, which removes nothing: leave one of them out."
        )
    return RunRequest.macs if macs is None else macs


def records_home(runs: Path | None, records: Sequence[Path] | None) -> Path:
    """Return the runs folder whose records a table shows. It is not read if `records` are given.

    Raises:
        UsageError: the folder does not exist, or holds no records.
    """
    if records:
        return runs or Path("runs")
    home = kept_home(runs)
    if runs is not None and not records_folder(home).is_dir():
        raise UsageError(
            f"--runs {home} has no records in it: create some with `bench run --method bilevel --suite artists --runs "
            f"{home}`, or read a folder that holds only records with --records."
        )
    return home


def refuse_unread(ctx: typer.Context, options: Mapping[str, str], why: str) -> None:
    """Raise UsageError if one of these options was given although the command ignores it.

    Args:
        ctx: the command's context.
        options: maps names of parameters to names of options.
        why: the reason, as a clause of the message.
    """
    refuse_given(given_options(ctx), options, why)


def given_options(ctx: typer.Context) -> frozenset[str]:
    """Return the names of the parameters that the command line gives."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


def refuse_given(given: Collection[str], options: Mapping[str, str], why: str) -> None:
    """Raise UsageError if one of `options` is among the `given` parameters; see `refuse_unread` for the arguments."""
    for parameter, option in options.items():
        if parameter in given:
            raise UsageError(f"{option} has no effect here: {why}. Leave it out.")


def artist(testbed: str, name: str) -> str:
    """Return an artist's full name, given the full name or the surname in upper or lower case.

    A testbed without a list of artists accepts any name.

    Raises:
        UsageError: the testbed has no such artist; the message suggests a similar name.
    """
    from difflib import get_close_matches

    from benchmark.testbeds.resolve import artists_of

    painters = artists_of(testbed)
    full_names = {form.casefold(): painter.name for painter in painters for form in (painter.surname, painter.name)}
    if not painters or (folded_name := name.casefold()) in full_names:
        return full_names[folded_name] if painters else name
    close = get_close_matches(folded_name, full_names, n=1)
    guess = f" Did you mean '{full_names[close[0]]}'?" if close else ""
    raise UsageError(f"Unknown artist '{name}'.{guess} `bench list artists` shows all that {testbed} knows.")
