"""`bench clean`: deletes runs, explicit images and unused files of the runs folder."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import KeptRuns
from benchmark.errors import UsageError
from benchmark.store.paths import kept_home, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.store.unreachable import Unreachable


class Kind(StrEnum):
    """Kinds of files that can be deleted."""

    weights = "weights"
    pictures = "pictures"
    features = "features"
    checkpoints = "checkpoints"
    stages = "stages"


def clean(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Labels or ids of the runs to delete, from `bench list runs`."),
    ] = None,
    kind: Annotated[
        list[Kind] | None,
        typer.Option(
            help="Delete only files of this kind, may be repeated: weights of trained models, pictures, features that "
            "scores are computed from, checkpoints of unfinished trainings, or stages that several runs share.",
            show_default="all of the run",
        ),
    ] = None,
    older_than: Annotated[
        str,
        typer.Option(
            help="Delete only runs that were last changed before this time: 90min, 12h, 7d, 2w.", show_default="any age"
        ),
    ] = "",
    shared: Annotated[
        bool, typer.Option("--shared", help="Delete models and stages too that runs which stay need.")
    ] = False,
    records: Annotated[bool, typer.Option("--records", help="Delete the records of the runs too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    explicit: Annotated[
        bool, typer.Option("--explicit", help="Delete explicit images, links to them, and latents that decode to them.")
    ] = False,
    unreachable: Annotated[
        bool,
        typer.Option(
            "--unreachable",
            help="Delete files that were computed from input files, such as pictures, that have been replaced since.",
        ),
    ] = False,
    runs: KeptRuns = None,
) -> None:
    """Delete runs, explicit images, or unused files.

    Runs are chosen by name, --kind and --older-than together. The command says what it deletes and how much that frees,
    and asks first. Records and scores are kept unless --records is given. What a running process uses stays, and so
    does what another run needs, unless --shared is given. A deleted run can be computed again.

    Without an argument or option nothing is deleted; the command then reports how many files were computed from input
    files that have been replaced since, so that no run will use them again.

    \b
    Examples:
      bench clean bilevel
      bench clean 4cd19acb --records
      bench clean --kind pictures --older-than 7d
      bench clean --explicit
      bench clean --unreachable
    """
    from benchmark.cli.clean_runs import clean_runs, remove_broken_links
    from benchmark.store import durable
    from benchmark.store.artefacts import PRIVATE
    from benchmark.store.unreachable import remove
    from benchmark.store.unreachable import unreachable as find_unreachable

    runs_folder, removed = kept_home(runs), 0
    if names or kind or older_than:
        from benchmark.records.clean_choice import Choice, parse_age

        if explicit or unreachable:
            raise UsageError("--explicit and --unreachable choose files on their own: leave out runs, --kind and age.")
        kinds = [str(value) for value in kind or ()]
        age = parse_age(older_than) if older_than else 0.0
        clean_runs(runs_folder, Choice(names or (), kinds, age, shared, records), yes)
        return
    if shared or records or yes:
        raise UsageError("--shared, --records and --yes need a run, --kind or --older-than: they choose nothing.")
    if explicit or unreachable:
        durable.sweep(runs_folder / "tmp")  # unfinished artefacts of killed runs
    if explicit:
        for private in PRIVATE:
            for folder in (runs_folder / "artefacts" / private, *runs_folder.glob(f"damaged/{private}-*")):
                removed += _remove(folder, runs_folder)
    unreachable_artefacts = [
        artefact for artefact in find_unreachable(runs_folder) if not durable.is_outside(artefact.folder, runs_folder)
    ]
    summary = _summary(unreachable_artefacts)
    if unreachable:
        for artefact in unreachable_artefacts:
            remove(runs_folder, artefact.folder)
    if explicit or unreachable:
        remove_broken_links(runs_folder)
    if explicit:
        print(f"{removed} explicit pictures removed from {runs_folder}; records and scores are kept")
    if unreachable:
        print(f"{summary} removed from {runs_folder}; records and scores are kept")
    elif unreachable_artefacts:
        print(f"{summary} in {runs_folder} will not be used again: the files they were computed from were replaced.")
    if not explicit and not unreachable:
        raise UsageError(
            "bench clean removes nothing by default: give a run, --kind, --older-than, --explicit or --unreachable."
        )


def _summary(artefacts: Sequence[Unreachable]) -> str:
    """Return how many artefacts there are, how large, and of which kinds."""
    count = f"{len(artefacts)} artefact{'s' * (len(artefacts) != 1)}"
    if not artefacts:
        return count
    counts_by_kind = Counter(artefact.kind for artefact in artefacts)
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(counts_by_kind.items()))
    return f"{count} ({size(sum(artefact.bytes for artefact in artefacts))}: {kinds})"


def _remove(folder: Path, runs_folder: Path) -> int:
    """Delete a folder of artefacts, and return how many pictures it held.

    If the folder is a link, or behind one, only those of its subfolders are deleted that the store wrote.

    Raises:
        StoreError: it cannot be deleted.
    """
    from benchmark.store.durable import is_outside
    from benchmark.store.listing import visible
    from benchmark.store.unreachable import remove

    if not folder.is_dir():
        return 0
    if not folder.is_symlink() and not is_outside(folder, runs_folder):
        count = _count_pictures(folder)
        remove(runs_folder, folder)
        return count
    own = [path for path in visible(folder, "*") if _is_own(path, folder.name)]
    counts = [_count_pictures(path) for path in own]
    for path in own:
        remove(runs_folder, path, may_be_outside=True)
    if others := visible(folder, "*"):
        print(f"stays: {others[0]}, which this store did not write, because {folder} is a link or behind a link")
    return sum(counts)


def _count_pictures(folder: Path) -> int:
    from benchmark.store.listing import visible

    return sum(path.is_file() for path in visible(folder, "**/*.png"))


def _is_own(folder: Path, kind: str) -> bool:
    """Return whether a folder behind a link is an artefact of this kind, or holds nothing but revealed sheets."""
    from benchmark.store import manifest

    if folder.is_symlink() or not folder.is_dir():
        return False
    if folder.name == "revealed":
        return all(path.suffix == ".png" for path in folder.iterdir())
    try:
        header = manifest.read_seal(folder)
    except (OSError, manifest.Damage, manifest.Newer):
        return False
    return (header.get("kind"), header.get("key")) == (kind, folder.name)
