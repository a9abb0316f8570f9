"""Links a model's pictures into a folder under the ids of their prompts. The files themselves stay in the store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import DataError
from benchmark.generation.shards import shard_identity, shards
from benchmark.store import durable
from benchmark.store.artefacts import key_of

if TYPE_CHECKING:
    from benchmark.api.model import Model
    from benchmark.api.testbed import Workbench
    from prompts.lists import Prompt


LONGEST = 160
"""Maximum length in bytes of a label in a folder's name; most file systems limit the whole name to 255 bytes."""


def name_of(model: Model) -> str:
    """Return a folder name for a model: its label, followed by part of its key, which makes the name unique."""
    words = "".join(c if c.isalnum() or c in "._-" else "-" for c in model.label)
    words = words.encode()[-LONGEST:].decode(errors="ignore")
    return f"{words.strip('-')}-{key_of('model', model.identity)[:8]}"


def hang(bench: Workbench, model: Model, prompts: Sequence[Prompt], folder: Path, kind: str = "images") -> Path:
    """Link every stored picture into `folder` as `<prompt id>.png`; return `folder`."""
    for prompt in prompts:
        if Path(prompt.id).name != prompt.id:
            raise DataError(f"The prompt id {prompt.id!r} must be a file name without folders: rename the id.")
    with durable.storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for shard in shards(prompts):
            artefact = bench.store.find(kind, shard_identity(bench, model, shard))
            if artefact is None:  # shipped results contain features but not pictures
                continue
            for k, prompt in enumerate(shard):
                link, target = folder / f"{prompt.id}.png", os.path.relpath(artefact.folder / f"{k:02d}.png", folder)
                with suppress(OSError):  # an earlier run may have linked a picture of a different prompt under this id
                    if os.readlink(link) != target:
                        link.unlink()
                with suppress(FileExistsError):  # an earlier run or another process has created the link
                    link.symlink_to(target)
    return folder
