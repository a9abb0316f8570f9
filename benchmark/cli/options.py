"""Options that several commands share, and the check of a name before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import UsageError
from benchmark.store.paths import check_folder, kept_home, records_folder

if TYPE_CHECKING:
    from benchmark.records.record import Record

Testbed = Annotated[
    str, typer.Option(help="What the run stands on: see `bench list testbeds`; or my.toml, my.py:Class.")
]


def _check_runs(value: Path | None) -> Path | None:
    """UsageError where a file has the folder's name; a new folder is made when there is something to write."""
    return None if value is None else check_folder(value, "--runs")


def _check_kept_runs(value: Path | None) -> Path | None:
    """UsageError for a folder that is to be read and is not there."""
    return None if value is None else kept_home(value)


_HOME = "$PALIMPSEST_HOME, else ./runs"
Runs = Annotated[
    Path | None,
    typer.Option(help="Folder of checkpoints, images and records.", show_default=_HOME, callback=_check_runs),
]
KeptRuns = Annotated[
    Path | None,
    typer.Option(help="Folder of checkpoints, images and records.", show_default=_HOME, callback=_check_kept_runs),
]
"""Of commands that only read."""
Pruning = Annotated[
    str, typer.Option(help="How the base is made smaller: see `bench list prunings`; or my.py:function.")
]
Macs = Annotated[
    float | None, typer.Option(help="Share of the base U-Net's MACs to keep, above 0, at most 1.", show_default="0.8")
]
Targets = Annotated[
    str, typer.Option(help='Artists to forget: "A,B"; see `bench list artists`.', show_default="the testbed's")
]
Seed = Annotated[int, typer.Option(help="Seed of the training run; images keep their prompts' seeds.")]
Preset = Annotated[
    str, typer.Option(help="The method's settings: default, paper or released.", show_default="the testbed's")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be repeated.")
]
Budget = Annotated[
    str, typer.Option(help="Training budget: default, U-Net FLOPs (1e15), time here (2h) or iterations (350it).")
]
Captions = Annotated[str, typer.Option(help="Fine-tuning captions: plain, or all-but-targets.")]
KeptNames = Annotated[
    str,
    typer.Option(
        help="Names of other artists that a method may read: all, half:0, half:1, half:2 (fixed halves) or none."
    ),
]
LimitShown = Annotated[
    int | None,
    typer.Option(help="Records of runs with this --limit, which are shown alone.", show_default="full runs"),
]
Limit = Annotated[
    int | None,
    typer.Option(
        help="Screening: only the first N prompts of each group. Such records stand in tables of their own.",
        show_default="all prompts",
    ),
]
Alone = Annotated[bool, typer.Option("--alone", help="Only this suite: `artists` without `coco`.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto takes what there is.")]
Precision = Annotated[
    str, typer.Option(help="Of training and sampling: fp32 or bf16, which records say.", show_default="the testbed's")
]
Compiles = Annotated[bool, typer.Option("--compile", help="Compile models that sample: for long ones.")]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Also score the suite by this: a name, or my.py:Class; may be repeated."),
]
Reveal = Annotated[bool, typer.Option("--reveal", help="Explicit suites: a contact sheet without blur.")]
AsPublished = Annotated[
    bool, typer.Option("--as-published", help="Public lists: every row, with its own guidance and size.")
]


class Reference(StrEnum):
    """What CP and CSD compare with."""

    distilled = "distilled"
    base = "base"


ComparedWith = Annotated[
    Reference, typer.Option(help="What CP and CSD compare with; `distilled` is trained if it is not there yet.")
]
Columns = Annotated[str, typer.Option(help='Only these columns: "cp,kept_style"; names as in JSON.')]
Records = Annotated[
    list[Path] | None,
    typer.Option(help="Record files or folders to read instead of the usual ones; may be repeated."),
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


def shown_suite(name: str, records: Iterable[Record]) -> str:
    """The name that records use for the suite that a table or a figure shows.

    Records outlive a plug-in: a name that is not installed is taken where `records` have it. Raises as `check_plugin`
    does, and names the suites of the records where a suite's file is gone.
    """
    from benchmark.suites import load

    recorded = {record.suite for record in records}
    if name in recorded:
        return name
    path = Path(name.rpartition(".py:")[0] + ".py" if ".py:" in name else name).expanduser()
    if load.is_file(name) and not path.is_file():
        there = f" There are {', '.join(sorted(recorded))}." if recorded else ""
        raise UsageError(f"There is no file {path} to read a suite from: name the suite as its records do.{there}")
    return check_plugin("suites", name)


def names(text: str, option: str = "--targets") -> tuple[str, ...]:
    """`"A, B"` -> `("A", "B")`; none for an option that was left out.

    UsageError for a list with an empty name, which an unset shell variable can cause, and for one that repeats a name.
    """
    listed_names = tuple(name.strip() for name in text.split(",")) if text else ()
    if not all(listed_names):
        raise UsageError(
            f"{option} '{text}' is a list with a place without a name: write \"A,B\", or leave the option out."
        )
    for name in listed_names:
        if listed_names.count(name) > 1:
            raise UsageError(f"{option} names '{name}' twice: name it once.")
    return listed_names


def artists_named(testbed: str, targets: str) -> tuple[str, ...]:
    """The full names of the artists that `--targets` lists; none if it was left out.

    UsageError for an artist that the testbed does not know, and for one that is named twice, as "Monet,Claude Monet".
    """
    full_names = tuple(artist(testbed, name) for name in names(targets))
    for name in full_names:
        if full_names.count(name) > 1:
            raise UsageError(f"--targets names '{name}' twice: name it once.")
    return full_names


def share_of_macs(pruning: str, macs: float | None) -> float:
    """The share that a request gets. UsageError for what is no share, and for one that nothing would read, since the
    base is not pruned."""
    from benchmark.api.request import RunRequest, check_macs

    if macs is not None:
        check_macs(macs)
    if macs is not None and macs != 1 and pruning == "none":
        raise UsageError(
            f"--macs {macs:g} goes with a pruning, and --pruning none cuts nothing: leave one of them out."
        )
    return RunRequest.macs if macs is None else macs


def records_home(runs: Path | None, records: Sequence[Path] | None) -> Path:
    """The runs folder whose records a table shows; any one where `records` are read instead.

    UsageError for a named folder that is not there, or in which nothing was run.
    """
    if records:
        return runs or Path("runs")
    home = kept_home(runs)
    if runs is not None and not records_folder(home).is_dir():
        raise UsageError(
            f"--runs {home} has no records in it: `bench run --method bilevel --suite artists --runs {home}` makes "
            "some; folders of records alone are read by --records."
        )
    return home


def refuse_unread(ctx: typer.Context, options: Mapping[str, str], why: str) -> None:
    """UsageError for one of these options that was given and would not be read. `options`: parameter -> option."""
    for parameter, option in options.items():
        source = ctx.get_parameter_source(parameter)
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"{option} would not be read: {why}; leave it out.")


def artist(testbed: str, name: str) -> str:
    """The full name of an artist called by full name or surname, in any case; a testbed without a list takes any.

    UsageError, with a suggestion, for an artist that the testbed does not know.
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
