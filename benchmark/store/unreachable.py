"""Finds and removes artefacts that no command can use any more, because their source files were replaced."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import StoreError
from benchmark.json_types import Identity
from benchmark.store import contents, disk, durable, manifest
from benchmark.store.artefacts import key_of
from benchmark.store.listing import visible


@dataclass(frozen=True)
class Unreachable:
    """An artefact that was computed from file contents that no longer exist. `bytes` is its size."""

    folder: Path
    kind: str
    bytes: int


def unreachable(home: Path) -> list[Unreachable]:
    """Return the unreachable artefacts in the runs folder `home`.

    These are the artefacts computed from replaced files and, in turn, the artefacts computed from them, such as the
    images of a model. They become reachable again if the files get their earlier contents back.
    """
    gone_contents = set(contents.replaced(home))
    identities = dict(_identities(home)) if gone_contents else {}
    unreachable_folders: list[Path] = []
    while new_folders := [folder for folder, identity in identities.items() if gone_contents & {*_strings(identity)}]:
        for folder in new_folders:
            # Artefacts computed from this one contain its key; those sampled from a model contain the model's key.
            gone_contents |= {folder.name, key_of("model", identities.pop(folder))}
            unreachable_folders.append(folder)
    return [Unreachable(folder, folder.parent.name, disk.taken(folder)) for folder in sorted(unreachable_folders)]


def remove(home: Path, folder: Path, may_be_outside: bool = False) -> None:
    """Remove an artefact atomically: it is renamed first, so that a killed process does not leave a part of it.

    Of a link, only the link is removed.

    Args:
        home: the runs folder.
        folder: the artefact's folder.
        may_be_outside: whether it may be behind a link that leads out of the runs folder.

    Raises:
        StoreError: it cannot be removed, in which case what is left of it is moved back; or it is outside.
    """
    if not may_be_outside and durable.is_outside(folder, home):
        raise StoreError(outside_sentence(folder, home))
    with durable.storing(folder):
        if folder.is_symlink():
            folder.unlink()
            return
        temporary = durable.temporary_folder(home / "tmp", 0o700)
        try:
            os.rename(folder, temporary)
            shutil.rmtree(temporary)
        except OSError:
            with suppress(OSError):  # it is empty if the folder could not be moved there
                temporary.rmdir()
            with suppress(OSError):  # move back what is left
                os.rename(temporary, folder)
            raise


def outside_sentence(path: Path, home: Path) -> str:
    """Return why a path that `durable.is_outside` is not deleted, and what to do."""
    return f"{path} is behind a link that leads out of {home}, so it is not deleted: delete it where the link leads."


def _identities(home: Path) -> Iterator[tuple[Path, Identity]]:
    """Yield the folder and the identity of each artefact; damaged manifests are skipped."""
    for path in visible(home / "artefacts", f"*/*/{manifest.MANIFEST}"):
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            yield path.parent, dict(json.loads(path.read_bytes())["identity"])


def _strings(value: Any) -> Iterator[str]:
    """Yield all strings in an identity."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)
