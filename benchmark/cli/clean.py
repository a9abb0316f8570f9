"""`bench clean`: deletes explicit images and unused files of the runs folder; records and scores are kept."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import KeptRuns
from benchmark.errors import UsageError
from benchmark.store.paths import kept_home, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.store.unreachable import Unreachable


def clean(
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
    """Delete explicit images, or files that no run uses any more.

    Records and scores are kept. Without an option nothing is deleted; the command only reports how many files were
    computed from input files that have been replaced since, so that no run will use them again.

    \b
    Examples:
      bench clean --explicit
      bench clean --unreachable
    """
    from benchmark.store import durable
    from benchmark.store.artefacts import PRIVATE
    from benchmark.store.unreachable import unreachable as find_unreachable

    runs_folder, removed = kept_home(runs), 0
    if explicit or unreachable:
        durable.sweep(runs_folder / "tmp")  # unfinished artefacts of killed runs
    if explicit:
        for kind in PRIVATE:
            for folder in (runs_folder / "artefacts" / kind, *runs_folder.glob(f"damaged/{kind}-*")):
                removed += _remove(folder, runs_folder)
    unreachable_artefacts = find_unreachable(runs_folder)
    summary = _summary(unreachable_artefacts)
    if unreachable:
        for artefact in unreachable_artefacts:
            _remove(artefact.folder, runs_folder)
    if explicit or unreachable:
        for link in (runs_folder / "images").rglob("*.png"):
            if link.is_symlink() and not link.exists():
                link.unlink()
    if explicit:
        print(f"{removed} explicit pictures removed from {runs_folder}; records and scores are kept")
    if unreachable:
        print(f"{summary} removed from {runs_folder}; records and scores are kept")
    elif unreachable_artefacts:
        print(f"{summary} in {runs_folder} will not be used again: the files they were computed from were replaced.")
    if not explicit and not unreachable:
        raise UsageError("bench clean removes nothing by default: give --explicit or --unreachable.")


def _summary(artefacts: Sequence[Unreachable]) -> str:
    """Return how many artefacts there are, how large, and of which kinds."""
    count = f"{len(artefacts)} artefact{'s' * (len(artefacts) != 1)}"
    if not artefacts:
        return count
    counts_by_kind = Counter(artefact.kind for artefact in artefacts)
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(counts_by_kind.items()))
    return f"{count} ({size(sum(artefact.bytes for artefact in artefacts))}: {kinds})"


def _remove(folder: Path, runs_folder: Path) -> int:
    """Delete the folder and return how many pictures it held. Raises StoreError if it cannot be deleted."""
    from benchmark.store.listing import visible
    from benchmark.store.unreachable import remove

    if not folder.is_dir():
        return 0
    count = sum(path.is_file() for path in visible(folder, "**/*.png"))
    for removed_folder in _folders_to_delete(folder):
        remove(runs_folder, removed_folder)
    return count


def _folders_to_delete(folder: Path) -> list[Path]:
    """Return the folders to delete: the folder itself, or its subfolders if it is a link, so that the link is kept."""
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_symlink() else [folder]
