"""`bench clean`: remove explicit pictures, and leave what was learnt from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.errors import UsageError
from benchmark.paths import home


def clean(
    explicit: Annotated[
        bool, typer.Option("--explicit", help="Explicit pictures, links to them, and latents that decode to some.")
    ] = False,
    runs: Annotated[
        Path | None, typer.Option(help="Runs folder.", show_default="$PALIMPSEST_HOME, else ./runs")
    ] = None,
) -> None:
    """Remove pictures that should not lie about; records and scores stay.

    \b
    Example:
      bench clean --explicit
    """
    if not explicit:
        raise UsageError("bench clean removes nothing unasked: say --explicit.")
    from benchmark.store import PRIVATE

    place, removed = runs or home(), 0
    for kind in PRIVATE:
        for folder in (place / "artefacts" / kind, *(place / "damaged").glob(f"{kind}-*")):
            removed += sum(path.is_file() for path in folder.rglob("*.png"))
            _remove(folder)
    for link in (place / "images").rglob("*.png"):
        if link.is_symlink() and not link.exists():
            link.unlink()
    print(f"{removed} explicit pictures removed from {place}; records and scores are left")


def _remove(folder: Path) -> None:
    from benchmark import durable

    with durable.storing(folder):
        durable.remove(folder)
