"""Deletes runs, or kinds of their files, for `bench clean`: says what and how much, and asks first."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from benchmark.errors import UsageError
from benchmark.store.listing import matching
from benchmark.store.paths import size

if TYPE_CHECKING:
    from benchmark.records.clean_choice import Choice
    from benchmark.records.removable import Selection


def clean_runs(home: Path, choice: Choice, yes: bool) -> None:
    """Print what is deleted and what stays, ask, and delete it.

    Raises:
        UsageError: a run is unknown, the answer is no, or nobody can answer and `yes` is False.
    """
    from benchmark.records.removable import select
    from benchmark.records.stored_runs import read_inventory
    from benchmark.store.claims import live
    from benchmark.store.durable import storing
    from benchmark.store.unreachable import remove

    inventory = read_inventory(home)
    selection = _inside(home, select(inventory, choice, live(home), time.time()))
    for sentence in selection.stays:
        print(f"stays: {sentence}")
    if not selection.parts and not selection.records:
        print(f"Nothing to delete in {home}.")
        return
    print(f"{_summary(selection)} in {home}, {size(selection.bytes)} in all")
    if not yes:
        _confirm()
    # A run may have started while the user was asked.
    selection = _inside(home, select(inventory, choice, live(home), time.time()))
    for part in selection.parts:
        remove(home, part.folder)
    for path in selection.record_files:
        with storing(path):
            path.unlink(missing_ok=True)
    remove_broken_links(home)
    kept = "" if selection.records else "; records and scores are kept"
    print(f"{size(selection.bytes)} freed{kept}")


def _inside(home: Path, selection: Selection) -> Selection:
    """Return a selection without what is behind links that lead out of the runs folder; that stays."""
    from benchmark.store.durable import is_outside
    from benchmark.store.unreachable import outside_sentence

    paths = [part.folder for part in selection.parts] + selection.record_files
    outside = [path for path in paths if is_outside(path, home)]
    return replace(
        selection,
        parts=[part for part in selection.parts if part.folder not in outside],
        record_files=[path for path in selection.record_files if path not in outside],
        stays=[*selection.stays, *(outside_sentence(path, home) for path in outside)],
    )


def _summary(selection: Selection) -> str:
    """Return the numbers of artefacts by kind, with their sizes."""
    counts = Counter(part.kind for part in selection.parts)
    sizes = {kind: sum(part.bytes for part in selection.parts if part.kind == kind) for kind in counts}
    texts = [f"{count} {kind} ({size(sizes[kind])})" for kind, count in sorted(counts.items())]
    if selection.records:
        texts.append(f"{selection.records} record{'s' * (selection.records != 1)}")
    return ", ".join(texts)


def _confirm() -> None:
    """Raise UsageError unless the user agrees to delete."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("Nothing was deleted: add --yes to delete without being asked.")
    with suppress(typer.Abort):
        if typer.confirm("Delete?", err=True):
            return
    raise UsageError("Nothing was deleted.")


def remove_broken_links(home: Path) -> None:
    """Remove links in the folder of images whose pictures were deleted, and folders that are empty then."""
    from benchmark.store.durable import is_outside

    if is_outside(home / "images" / "any", home):
        return
    for link in matching(home / "images", "**/*.png"):
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)
    for folder in reversed(matching(home / "images", "**/*")):
        if folder.is_dir() and not folder.is_symlink():
            with suppress(OSError):  # it is not empty
                folder.rmdir()
