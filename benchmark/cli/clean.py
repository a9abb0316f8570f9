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
    from benchmark.store.unreachable import unreachable as find

    place, removed = kept_home(runs), 0
    if explicit or unreachable:
        durable.sweep(place / "tmp")  # what a killed run was about to keep
    if explicit:
        for kind in PRIVATE:
            for folder in (place / "artefacts" / kind, *place.glob(f"damaged/{kind}-*")):
                removed += _remove(folder, place)
    found = find(place)
    if unreachable:
        for artefact in found:
            _remove(artefact.folder, place)
    if explicit or unreachable:
        for link in (place / "images").rglob("*.png"):
            if link.is_symlink() and not link.exists():
                link.unlink()
    if explicit:
        print(f"{removed} explicit pictures removed from {place}; records and scores are left")
    if unreachable:
        print(f"{_told(found)} removed from {place}; records and scores are left")
    elif found:
        print(f"{_told(found)} in {place} can no longer be reached: files they were made of were replaced.")
    if not explicit and not unreachable:
        raise UsageError("bench clean removes nothing unasked: say --explicit or --unreachable.")


def _told(found: Sequence[Unreachable]) -> str:
    """How many artefacts, how large, and of which kinds."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(one.kind for one in found).items()))
    count = f"{len(found)} artefact{'s' * (len(found) != 1)}"
    return f"{count} ({size(sum(one.bytes for one in found))}: {kinds})" if found else count


def _remove(folder: Path, place: Path) -> int:
    """How many pictures were in the folder, which is gone; StoreError where it cannot be."""
    from benchmark.store.listing import visible
    from benchmark.store.unreachable import remove

    if not folder.is_dir():
        return 0
    count = sum(path.is_file() for path in visible(folder, "**/*.png"))
    remove(place, folder)
    return count
