"""A folder in which a person finds a model's pictures by their prompts' ids; the files themselves stay in the store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.generation.shards import shard_identity, shards
from benchmark.store import durable
from benchmark.store.artefacts import key_of

if TYPE_CHECKING:
    from benchmark.api.model import Model
    from benchmark.api.testbed import Workbench
    from prompts.lists import Prompt


LONGEST = 160
"""Bytes of a label in a folder's name: file systems take 255 with what is put around it."""


def name_of(model: Model) -> str:
    """Folder name: readable, and different for different models."""
    words = "".join(c if c.isalnum() or c in "._-" else "-" for c in model.label)
    words = words.encode()[-LONGEST:].decode(errors="ignore")
    return f"{words.strip('-')}-{key_of('model', model.identity)[:8]}"


def hang(bench: Workbench, model: Model, prompts: Sequence[Prompt], folder: Path, kind: str = "images") -> Path:
    """Link every picture that exists as `<prompt id>.png` into `folder`; return it."""
    with durable.storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for shard in shards(prompts):
            artefact = bench.store.find(kind, shard_identity(bench, model, shard))
            if artefact is None:  # its features were shipped, the pictures were not
                continue
            for k, prompt in enumerate(shard):
                link, target = folder / f"{prompt.id}.png", os.path.relpath(artefact.folder / f"{k:02d}.png", folder)
                with suppress(OSError):  # an id may have been asked otherwise before, and shows that picture
                    if os.readlink(link) != target:
                        link.unlink()
                with suppress(FileExistsError):  # hung before, or by another process just now
                    link.symlink_to(target)
    return folder
