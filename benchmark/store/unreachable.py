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

from benchmark.json_types import Identity
from benchmark.store import contents, durable, manifest
from benchmark.store.artefacts import key_of
from benchmark.store.listing import visible


@dataclass(frozen=True)
class Unreachable:
    """An artefact whose key stands for contents that no longer exist."""

    folder: Path
    kind: str
    bytes: int


def unreachable(home: Path) -> list[Unreachable]:
    """Return all such artefacts under the runs folder `home`: those made of replaced files, and those made of them in
    turn, as pictures are made by a model. If the files come back as they were, the artefacts can be reached again."""
    gone_contents = set(contents.replaced(home))
    identities = dict(_identities(home)) if gone_contents else {}
    unreachable_folders: list[Path] = []
    while new_folders := [folder for folder, identity in identities.items() if gone_contents & {*_words(identity)}]:
        for folder in new_folders:
            # What was made of this artefact names it by its key; what was made by a model, by the model's key.
            gone_contents |= {folder.name, key_of("model", identities.pop(folder))}
            unreachable_folders.append(folder)
    return [
        Unreachable(
            folder, folder.parent.name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        )
        for folder in sorted(unreachable_folders)
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


def _identities(home: Path) -> Iterator[tuple[Path, Identity]]:
    for path in visible(home / "artefacts", f"*/*/{manifest.MANIFEST}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            yield path.parent, dict(json.loads(path.read_bytes())["identity"])


def _words(value: Any) -> Iterator[str]:
    """All texts in an identity."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _words(inner)
