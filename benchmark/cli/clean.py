"""`bench clean`: remove explicit pictures, and what can no longer be reached; leave what was learnt from them."""

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
        bool, typer.Option("--explicit", help="Explicit pictures, links to them, and latents that decode to some.")
    ] = False,
    unreachable: Annotated[
        bool, typer.Option("--unreachable", help="What was made of files that have been replaced since.")
    ] = False,
    runs: KeptRuns = None,
) -> None:
    """Remove explicit pictures, or unreachable artefacts.

    Records and scores stay.

    Without an option it removes nothing, and says how much can no longer be reached because the pictures that it was
    made of were replaced.

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
        print(f"{removed} explicit pictures removed from {runs_folder}; records and scores are left")
    if unreachable:
        print(f"{summary} removed from {runs_folder}; records and scores are left")
    elif unreachable_artefacts:
        print(f"{summary} in {runs_folder} can no longer be reached: files they were made of were replaced.")
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
    """Remove the folder and return how many pictures were in it. StoreError if it cannot be removed."""
    from benchmark.store.listing import visible
    from benchmark.store.unreachable import remove

    if not folder.is_dir():
        return 0
    count = sum(path.is_file() for path in visible(folder, "**/*.png"))
    for removed_folder in _own_folders(folder):
        remove(runs_folder, removed_folder)
    return count


def _own_folders(folder: Path) -> list[Path]:
    """The folder, or what is in it where it is a link: then the link stays, and its pictures go."""
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_symlink() else [folder]
