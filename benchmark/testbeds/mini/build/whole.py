"""Files and folders of a build are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.store import durable


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it at the end: what bears the final name is complete, and on the disk.

    One process at a time: the temporary name is always the same, so that what a kill left there is replaced.
    """
    temporary = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    yield temporary
    for written in (*temporary.rglob("*"), temporary):
        (durable.sync_folder if written.is_dir() else durable.sync_file)(written)
    os.replace(temporary, path)
    durable.sync_folder(path.parent)
