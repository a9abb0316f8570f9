"""`bench clean`: remove explicit pictures, and leave what was learnt from them."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import KeptRuns
from benchmark.errors import UsageError
from benchmark.store.paths import kept_home


def clean(
    explicit: Annotated[
        bool, typer.Option("--explicit", help="Explicit pictures, links to them, and latents that decode to some.")
    ] = False,
    runs: KeptRuns = None,
) -> None:
    """Remove explicit pictures; records and scores stay.

    \b
    Example:
      bench clean --explicit
    """
    if not explicit:
        raise UsageError("bench clean removes nothing unasked: say --explicit.")
    from benchmark.store import durable
    from benchmark.store.artefacts import PRIVATE

    place, removed = kept_home(runs), 0
    durable.sweep(place / "tmp")  # what a killed run was about to keep
    for kind in PRIVATE:
        for folder in (place / "artefacts" / kind, *place.glob(f"damaged/{kind}-*")):
            removed += _remove(folder, place)
    for link in (place / "images").rglob("*.png"):
        if link.is_symlink() and not link.exists():
            link.unlink()
    print(f"{removed} explicit pictures removed from {place}; records and scores are left")


def _remove(folder: Path, place: Path) -> int:
    """How many pictures were in the folder, which is gone; StoreError where it cannot be.

    It loses its name first, so that a run which is started after a kill does not meet half of it.
    """
    from benchmark.store import durable

    if not folder.is_dir():
        return 0
    count = sum(path.is_file() for path in folder.rglob("*.png"))
    with durable.storing(folder):
        temporary = durable.temporary_folder(place / "tmp", 0o700)
        try:
            os.rename(folder, temporary)
            shutil.rmtree(temporary)
        except OSError:
            with suppress(OSError):  # empty, if the folder could not be moved there
                temporary.rmdir()
            with suppress(OSError):  # what is left is found where it was
                os.rename(temporary, folder)
            raise
    return count
