"""Artefacts that no command asks for any more, because the files that they were made of were replaced."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.store import contents, durable, manifest
from benchmark.store.artefacts import key_of


@dataclass(frozen=True)
class Unreachable:
    """An artefact whose key stands for contents that are no more."""

    folder: Path
    kind: str
    bytes: int


def unreachable(home: Path) -> list[Unreachable]:
    """All such artefacts under the runs folder `home`: those made of replaced files, and those made of such ones, as
    pictures are of a model. They are found again if the files come back as they were."""
    gone = set(contents.replaced(home))
    left = dict(_identities(home)) if gone else {}
    found: list[Path] = []
    while new := [folder for folder, identity in left.items() if gone.intersection(_words(identity))]:
        for folder in new:
            gone |= {folder.name, key_of("model", left.pop(folder))}  # a model is named by its key where it is no more
            found.append(folder)
    return [
        Unreachable(
            folder, folder.parent.name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        )
        for folder in sorted(found)
    ]


def remove(home: Path, folder: Path) -> None:
    """Remove an artefact, which loses its name first: a run that starts after a kill meets all of it or nothing.
    StoreError where it cannot be."""
    with durable.storing(folder):
        temporary = durable.temporary_folder(home / "tmp", 0o700)
        try:
            os.rename(folder, temporary)
            shutil.rmtree(temporary)
        except OSError:
            with suppress(OSError):  # empty, if the folder could not be moved there
                temporary.rmdir()
            with suppress(OSError):  # what is left is found where it was
                os.rename(temporary, folder)
            raise


def _identities(home: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in (home / "artefacts").glob(f"*/*/{manifest.MANIFEST}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            yield path.parent, dict(json.loads(path.read_bytes())["identity"])


def _words(value: Any) -> Iterator[str]:
    """All texts in an identity."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _words(inner)
